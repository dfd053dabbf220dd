"""A network through the real `torch.compile`; `--long`, since that takes a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tdpn_core import recipes
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.config.schema import DataConfig
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.errors import DeviceError
from tdpn_core.sampling.loader import Batch
from tdpn_core.training.train_step import Learner, Outcome

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # of torch's own modules
DATA = DataConfig(
    path="d", dataset="folder", classes={"action": ["a", "b"]}, classes_digest="c", digest="d", short_side=36
)


def _learner(tiny: dict[str, str], compiled: bool) -> Learner:
    # draws of dropout are the compiler's own
    settings = {**tiny, "model.dropout": "0", "train.compile": str(compiled).lower()}
    config = recipes.adjust(recipes.small(DATA), TrainOverrides(settings=settings))
    return Learner(config, [f"clip {number}" for number in range(8)], Runtime(torch.device("cpu")))


def _step(learner: Learner, number: int) -> Outcome:
    generator = torch.Generator().manual_seed(number)
    frames = learner.config.model.num_frames * learner.config.model.frames_per_step
    clips = torch.randint(0, 256, (6, 3, frames, 32, 32), generator=generator, dtype=torch.uint8)
    batch = Batch(clips, {"action": torch.arange(6) % 2}, torch.arange(6), torch.zeros(6, dtype=torch.long))
    return learner.step(batch, number=number, lr=1e-4)


def _near(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.allclose(value, other[name], rtol=1e-3, atol=1e-3) for name, value in one.items())


def test_a_compiled_run_is_the_same_run_and_goes_on_without_the_compiler_and_the_other_way(
    tiny: dict[str, str], repetitions: int
) -> None:
    if repetitions == 1:
        pytest.skip("needs --long: compiling takes a minute")
    compiled, plain = _learner(tiny, True), _learner(tiny, False)
    for number in range(2):
        ours, theirs = _step(compiled, number), _step(plain, number)
        assert ours == pytest.approx(theirs, rel=1e-4)
    kept: list[Any] = [(learner.weights(), learner.state_dict()) for learner in (compiled, plain)]
    assert not [name for weights, tensors in kept for name in [*weights, *tensors] if "_orig_mod" in name]
    assert _near(kept[0][0], kept[1][0])
    onwards = _learner(tiny, False), _learner(tiny, True)
    for learner, (weights, tensors) in zip(onwards, kept, strict=True):
        learner.load_state_dict(weights, tensors)
        assert _step(learner, 2) == pytest.approx(_step(plain, 2), rel=1e-3)


def test_a_machine_without_a_compiler_says_so(
    tiny: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "/nonexistent/g++"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("tdpn_core.training.train_step.build_model", lambda config: Colours())
    with pytest.raises(DeviceError, match=r"cannot be compiled here \(InvalidCxxCompiler: No work.*--no-compile"):
        _step(_learner(tiny, True), 0)


class Colours(torch.nn.Module):
    """As little as compiles: classes by the mean colour."""

    def __init__(self) -> None:
        super().__init__()
        self.action = torch.nn.Linear(3, 2)

    def forward(self, clip: Tensor) -> Any:
        from types import SimpleNamespace

        return SimpleNamespace(logits={"action": self.action(clip.mean((2, 3, 4)))}, auxiliary=None)
