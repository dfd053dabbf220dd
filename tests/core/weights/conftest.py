"""Checkpoints of reference projects, rebuilt by the fixtures' rule, and what the references make of known inputs."""

import dataclasses
import functools
import importlib.util
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

torch.set_num_threads(1)


@dataclasses.dataclass(frozen=True)
class Fixture:
    """One reference: the object that its file holds, its input and its outputs."""

    name: str
    checkpoint: dict[str, Any]
    inputs: torch.Tensor | list[torch.Tensor]
    arrays: dict[str, np.ndarray]
    output: str
    training: dict[str, np.ndarray]
    """Losses, gradients and statistics of one training step; empty where none was measured."""

    build_input: Callable[[dict[str, Any]], torch.Tensor]
    """The input of another description."""

    @property
    def state(self) -> dict[str, torch.Tensor]:
        """The tensors, out of their wrapper."""
        inner = self.checkpoint
        for key in ("state_dict", "model_state"):
            inner = inner.get(key, inner)
        return inner


@pytest.fixture(scope="session")
def parity(parity_files: Path) -> Callable[[str], Fixture]:
    """Fixtures by name."""
    folder = parity_files
    spec = importlib.util.spec_from_file_location("parity_fill", folder / "fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)

    def arrays_of(name: str) -> dict[str, np.ndarray]:
        with np.load(folder / name / "expected.npz") as stored:
            return {key: stored[key] for key in stored.files}

    last: dict[str, dict[str, Any]] = {}  # a single one: some have hundreds of megabytes

    def checkpoint_of(table: Path) -> dict[str, Any]:
        """Some neighbours have the same table."""
        text = table.read_text()
        if text not in last:
            last.clear()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # it leaves its table to the garbage collector
                last[text] = fill.build_checkpoint(table)
        return last[text]

    @functools.lru_cache(maxsize=1)
    def load(name: str) -> Fixture:
        arrays = arrays_of(name)
        meta = json.loads(str(arrays.pop("meta")))
        checkpoint = checkpoint_of(folder / name / "params.tsv")
        training = arrays_of(f"{name}_train") if (folder / f"{name}_train").is_dir() else {}
        return Fixture(name, checkpoint, fill.build_input(meta), arrays, meta["output"], training, fill.build_input)

    return load


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Save an object as a project would, and give the file."""

    def save(value: Any, name: str = "checkpoint.pth") -> Path:
        torch.save(value, tmp_path / name)
        return tmp_path / name

    return save
