"""A training step waits for its device once, and evaluation computes in the run's format.

There is no GPU in these tests: what would wait for one is counted by the calls that do. `tests/gpu` has the same with
CUDA's own check.
"""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tdpn_core import recipes
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.config.schema import DataConfig
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.evaluation.inference import view_logits
from tdpn_core.model.precision import Asked, Precision, scoring_precision
from tdpn_core.model.registry import build_model
from tdpn_core.sampling.loader import Batch
from tdpn_core.training.loss import label_counts
from tdpn_core.training.train_step import Learner

CPU = torch.device("cpu")
DATA = DataConfig(
    path="data/x",
    dataset="folder",
    classes={"action": ["a", "b", "c"]},
    classes_digest="c",
    digest="d",
    short_side=36,
)
_READS = {
    Tensor.item, Tensor.tolist, Tensor.cpu, Tensor.numpy, Tensor.nonzero, torch.nonzero, torch.tensor,
    Tensor.__bool__, Tensor.__int__, Tensor.__float__, Tensor.__index__,
}  # fmt: skip


_TORCH = str(Path(torch.__file__).parent)


class Waits(TorchFunctionMode):
    """Lists the calls that wait for a GPU, but those on tensors that a training step has on the CPU."""

    def __init__(self, *host: Tensor) -> None:
        super().__init__()
        self.calls: list[str] = []
        self._host = {values.untyped_storage().data_ptr() for values in host}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        first = args[0] if args and isinstance(args[0], Tensor) else None
        on_host = first is not None and first.untyped_storage().data_ptr() in self._host
        placed = "device" in options or any(isinstance(value, torch.device) for value in args[1:])
        masked = func is Tensor.__getitem__ and isinstance(args[1], Tensor) and args[1].dtype == torch.bool
        ours = not sys._getframe(1).f_code.co_filename.startswith(_TORCH)  # torch moves what is elsewhere only
        copied = func is Tensor.to and ours and placed and not options.get("non_blocking")
        if (func in _READS and not on_host) or copied or masked:
            self.calls.append(func.__name__)
        return func(*args, **options)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"train.accumulate": "2", "train.ema": "0.9"},
        {"sampling.mixup": "0.4", "sampling.randaugment": "2", "sampling.erasing": "1"},
        {"sampling.cutmix": "1", "sampling.colour": "0.4,0.4,0.4,0.1"},
    ],
)
def test_a_step_waits_for_the_device_once(tiny: dict[str, str], settings: dict[str, str]) -> None:
    config = recipes.adjust(recipes.small(DATA), TrainOverrides(settings=tiny))
    config = recipes.set_fields(config, {"train.optimiser": "sgd", **settings})
    learner = Learner(config, [f"clip {number}" for number in range(4)], Runtime(CPU))
    clips = torch.randint(0, 256, (4, 3, 10, 32, 32), dtype=torch.uint8)
    labels = {"action": torch.arange(4) % 3}
    indices, visits = torch.arange(4), torch.zeros(4, dtype=torch.long)
    batch = Batch(clips, labels, indices, visits, label_counts(labels))
    learner.step(batch, number=0, lr=0.01)  # constants go to the device once
    with Waits(indices, visits) as waits:
        learner.step(batch, number=1, lr=0.01)
    assert waits.calls == ["tolist"]


def test_a_step_without_counts_would_wait_for_its_labels(tiny: dict[str, str]) -> None:
    """The stand-in sees what it is there for."""
    labels = {"action": torch.arange(4) % 3}
    with Waits() as waits:
        label_counts(labels)
        labels["action"][labels["action"] > 0]
        labels["action"].to(CPU)
    assert waits.calls == ["__int__", "__getitem__", "to"]


@pytest.mark.parametrize("asked", ["auto", "float32"])
def test_clips_are_scored_in_the_format_of_the_run(
    tiny: dict[str, str], asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = recipes.adjust(recipes.small(DATA), TrainOverrides(settings=tiny))
    model = build_model(config.model).eval()
    seen: list[torch.dtype] = []
    model.head.register_forward_hook(lambda module, entered, left: seen.extend(v.dtype for v in left.values()))

    def on_a_gpu(given: Asked, device: torch.device) -> Precision:
        return Precision("float32" if given == "float32" else "bf16", "cpu")

    monkeypatch.setattr("tdpn_core.evaluation.inference.scoring_precision", on_a_gpu)
    views = torch.randint(0, 256, (2, 3, 10, 32, 32), dtype=torch.uint8)
    logits = view_logits(model, views, config.sampling, precision=asked)
    assert seen == [torch.float32 if asked == "float32" else torch.bfloat16]
    assert logits["action"].dtype == torch.float32


@pytest.mark.parametrize("asked", ["auto", "bf16", "fp16", "float32"])
def test_a_cpu_scores_in_float32_however_the_network_was_trained(asked: Asked) -> None:
    assert scoring_precision(asked, CPU).name == "float32"
