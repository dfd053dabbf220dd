"""Batches reach the device in their order, the next one under way before one is handed out."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tdpn_core.sampling.loader import Batch
from tdpn_core.training.device import SideStream, ahead, on_device


def _batches(heard: list[str], count: int = 3) -> Iterator[Batch]:
    for number in range(count):
        heard.append(f"load {number}")
        yield Batch(torch.full((2, 3), number), {"action": torch.tensor([number])}, torch.arange(2), torch.zeros(2))


class _Heard(SideStream):
    """Notes what is asked of it."""

    def __init__(self, heard: list[str]) -> None:
        self.heard = heard

    def begin(self, batch: Batch) -> Any:
        self.heard.append(f"copy {int(batch.clips[0, 0])}")
        return batch

    def end(self, copy: Any) -> Batch:
        self.heard.append(f"wait for {int(copy.clips[0, 0])}")
        assert isinstance(copy, Batch)
        return copy


def test_the_next_copy_is_under_way_before_a_batch_is_handed_out() -> None:
    heard: list[str] = []
    for batch in ahead(_batches(heard), _Heard(heard)):
        heard.append(f"step {int(batch.clips[0, 0])}")
    first = ["load 0", "copy 0", "load 1", "copy 1", "wait for 0", "step 0"]
    assert heard == [*first, "load 2", "copy 2", "wait for 1", "step 1", "wait for 2", "step 2"]


@pytest.mark.parametrize("count", [0, 1])
def test_few_batches_end_as_they_should(count: int) -> None:
    assert len(list(ahead(_batches([], count), _Heard([])))) == count


def test_on_a_cpu_batches_are_handed_on_as_they_come() -> None:
    heard: list[str] = []
    batches = on_device(_batches(heard), torch.device("cpu"))
    assert int(next(batches).clips[0, 0]) == 0
    assert heard == ["load 0"]
    assert [int(batch.labels["action"]) for batch in batches] == [1, 2]


def test_a_copy_is_waited_for_and_kept_by_the_stream_that_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls of CUDA in their order, on stand-ins: there is no GPU here."""
    heard: list[str] = []

    class Stream:
        def __init__(self, device: object = None, name: str = "side") -> None:
            self.name = name

        def __enter__(self) -> None:
            heard.append(f"on {self.name}")

        def __exit__(self, *rest: object) -> None:
            heard.append(f"off {self.name}")

        def wait_event(self, event: object) -> None:
            heard.append(f"{self.name} waits")

    class Event:
        def record(self, stream: Stream) -> None:
            heard.append(f"event on {stream.name}")

    class Values(torch.Tensor):
        def to(self, *place: object, non_blocking: bool = False) -> "Values":  # type: ignore[override]
            heard.append(f"to {place[0]}, blocking {not non_blocking}")
            return self

        def record_stream(self, stream: Stream) -> None:  # type: ignore[override]
            heard.append(f"kept by {stream.name}")

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream(name="main"))
    values = torch.zeros(1).as_subclass(Values)
    batch = Batch(values, {"action": values}, torch.zeros(1), torch.zeros(1))
    (given,) = on_device(iter([batch]), torch.device("cuda", 0))
    copies = ["to cuda:0, blocking False"] * 2
    expected = ["on side", *copies, "event on side", "off side", "main waits", "kept by main", "kept by main"]
    assert heard == expected
    assert given.indices is batch.indices
