"""The benchmark of reading: that it times what training does, and that its figures are what they are called."""

import os
import re
from pathlib import Path

import pytest
import torch

from tdpn_core.bench.data import PROTOCOLS, ReadingRow, Stages, alternate, bench_reading, one_core, ratio_of
from tdpn_core.sampling import transforms as pixels
from tdpn_core.shards import ClipStore

STAGES = ["read", "decode", "crop and resize", "arrange", "copy"]


def row(ratio: float = 0.9, **seconds: float) -> ReadingRow:
    stages = {stage: seconds.get(stage.split()[0], 0.001) for stage in STAGES}
    return ReadingRow(
        protocol="8x8",
        frames=8,
        decode_only=0.01,
        read_decode=0.01,
        item=0.01,
        batch=0.02,
        ratio=ratio,
        stages=stages,
        device={"normalise": 0.001},
    )


def test_every_protocol_has_its_frames_its_rates_and_shares_of_the_whole(prepared: Path) -> None:
    bench = bench_reading(prepared, clips=3, rounds=1, device=torch.device("cpu"))
    assert [row.protocol for row in bench.rows] == ["8x8", "8x8, window 5", "32x2"]
    assert (bench.clips, bench.rounds, bench.device) == (3, 1, "cpu")
    for measured in bench.rows:
        assert list(measured.shares) == STAGES
        assert sum(measured.shares.values()) == pytest.approx(1)
        assert min(measured.decode_only, measured.read_decode, measured.item, measured.batch, measured.ratio) > 0
        assert list(measured.device) == ["normalise", "colour jitter", "RandAugment", "random erasing"]
    plain, window, long = (measured.frames for measured in bench.rows)
    assert plain <= 8 < window <= 40
    assert plain < long <= 32
    text = bench.lines()
    assert text[0] == f"3 train clips of {prepared}, one core, median of 1 rounds"
    assert sum(line.startswith("8x8, window 5") for line in text) == 4, "rates, shares, device, advice"


def test_the_stages_one_after_the_other_are_an_item_of_training(prepared: Path) -> None:
    store = ClipStore(prepared, "train")
    dataset = PROTOCOLS[1].dataset(store, seed=5)
    stages = Stages(dataset, store, [4, 0])
    for clip in (4, 0):
        frames, order, crop, flip = stages.draws[clip]
        cropped = pixels.resize(pixels.cut(pixels.decode(store, clip, frames), crop), 224, 224)
        assert torch.equal(pixels.arrange(cropped, order, flip=flip), dataset[0, clip].clip)


def test_works_take_turns_and_the_first_round_does_not_count() -> None:
    calls = []
    seconds = alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3)
    assert calls == ["a", "b"] * 4
    assert {name: len(taken) for name, taken in seconds.items()} == {"a": 3, "b": 3}


def test_a_ratio_is_the_median_of_the_rounds_own() -> None:
    assert ratio_of([1.0, 2.0, 4.0], [3.0, 4.0, 100.0]) == 3.0


def test_threads_and_cores_are_given_back_even_after_an_error() -> None:
    cores, threads = _cores(), torch.get_num_threads()
    seen = []

    def fail() -> None:
        with one_core():
            seen.append(_cores())
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert not cores or len(seen[0]) == 1
    assert torch.get_num_threads() == threads
    assert _cores() == cores


def _cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


@pytest.mark.parametrize(
    ("measured", "advice"),
    [
        (row(ratio=0.5, read=0.002), "reach 0.50 of decoding alone: put the data on a local disk"),
        (row(ratio=0.5, read=0.0001), "reach 0.50 of decoding alone, though reading takes little: the machine is busy"),
        (row(decode=0.01), r"decode takes 71% .* feeds 50 clips/s: add --workers .* smaller --short-side"),
        (row(crop=0.01), "crop and resize takes 71% .* --short-side nearer to the network's --size"),
        (row(copy=0.01), "copy takes 71% .* fewer frames or a smaller --size"),
    ],
)
def test_the_advice_names_what_costs_most(measured: ReadingRow, advice: str) -> None:
    assert re.search(advice, measured.advice)
