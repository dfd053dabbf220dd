"""Small networks, clips for them, and the parity fixtures."""

import dataclasses
import importlib.util
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tdpn_core.model.base import Network
from tdpn_core.model.registry import create_model


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)  # two spin for one another where other work shares the cores


@pytest.fixture
def small() -> Callable[..., Network]:
    """A network of depth 18 and a quarter of the width for 2 frames of 32x32, 3 classes; any option can be given."""

    def build(**options: object) -> Network:
        chosen = {"arch": "r18", "width": 0.25, "num_frames": 2, "input_size": 32, "num_classes": 3, **options}
        return create_model(chosen.pop("name", "tdpn"), **chosen)

    return build


@pytest.fixture
def clip_for() -> Callable[..., torch.Tensor]:
    """A random batch of clips that a model takes, of its own or another size."""

    def build(model: Network, size: tuple[int, int] | None = None, batch: int = 2) -> torch.Tensor:
        config = model.config
        height, width = size or (config.input_size, config.input_size)
        return torch.randn(batch, config.channels, config.num_frames * config.frames_per_step, height, width)

    return build


@dataclasses.dataclass(frozen=True)
class Reference:
    """A known state dict, a known input and what a reference implementation makes of them."""

    weights: dict[str, torch.Tensor]
    inputs: torch.Tensor | list[torch.Tensor]
    arrays: dict[str, np.ndarray]


@pytest.fixture(scope="session")
def reference(parity_files: Path) -> Callable[..., Reference]:
    """Parity fixtures by name; `weights_of` names another fixture whose weights this one uses."""
    folder = parity_files
    spec = importlib.util.spec_from_file_location("parity_fill", folder / "fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)

    def load(name: str, weights_of: str | None = None) -> Reference:
        with np.load(folder / name / "expected.npz") as stored:
            arrays = {key: stored[key] for key in stored.files}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # the program leaves its table to the garbage collector
            weights = fill.build_checkpoint(folder / (weights_of or name) / "params.tsv")
        inputs = fill.build_input(json.loads(str(arrays.pop("meta"))))
        return Reference(weights.get("state_dict", weights), inputs, arrays)

    return load
