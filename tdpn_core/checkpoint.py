"""A checkpoint is one safetensors file: tensors, everything else as JSON in its header, and a digest over both.

No code runs when one is loaded. A flipped bit anywhere in tensors or settings changes the digest (safetensors alone
would not notice), and a file is written whole or not at all. The name ends in `.pt` by the field's habit.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import platform
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

from tdpn_core.config.schema import DataConfig, RunConfig, from_dict, to_dict
from tdpn_core.errors import CheckpointError
from tdpn_core.files import atomic_path, disk_error
from tdpn_core.model.base import Network
from tdpn_core.model.cpu.fold_bn import fold_normalisations, for_inference
from tdpn_core.model.registry import build_model
from tdpn_core.shards.manifest import MANIFEST
from tdpn_core.version import __version__

Purpose = Literal["run", "trace", "train"]
"""What a network is built for."""

SCHEMA = 2  # 1: a network's settings had the fields of every family
RUNNING = ("loss", "objective", "correct", "clips", "seconds", "waiting")
_ENTRY = "tdpn"
_MODEL, _OPTIMISER = "model.", "optimiser."
_FILLERS = {Tensor.normal_, Tensor.uniform_, Tensor.fill_, Tensor.zero_, init.normal_, init.uniform_}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingState:
    """Where a run stands. With weights and optimiser this is all that resuming needs: randomness is derived."""

    epoch: int = 0
    """Finished epochs."""

    batch: int = 0
    """Finished batches of the epoch under way."""

    step: int = 0
    """Optimiser steps since the start."""

    running: dict[str, float] = dataclasses.field(default_factory=dict)
    """Sums over the epoch under way, of `RUNNING`."""

    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    """One row of metrics a finished epoch; `metrics.csv` is this."""

    best_top1: float = -1.0
    """Highest validation top-1 so far, in [0, 1]; -1 before the first validation."""

    best_loss: float = math.inf
    """Validation loss of the best epoch: it decides between equal top-1."""

    drops: int = 0
    """Divisions of the learning rate that the plateau schedule has made."""

    stale_epochs: int = 0
    """Epochs since the last improvement, for the plateau schedule."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A run at one moment."""

    config: RunConfig
    state: TrainingState
    weights: dict[str, Tensor]
    """The model's state dict."""

    optimiser: dict[str, Tensor]
    """The optimiser's buffers of each parameter, by `<buffer>.<parameter>`; empty where it is not resumable."""

    resumable: bool = True
    """Whether it holds all that a run goes on from (`last.pt`), or weights alone (`best.pt`, a fourth of the size)."""

    world: int = 1
    """Processes that trained together: to continue with others is another run in its batch statistics."""

    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    """Of this package, torch and Python, as they were when it was saved."""

    averaged: bool | None = None
    """Of another project's file with raw and averaged (EMA) weights: whether these are the averaged ones."""

    def build(self, device: torch.device, purpose: Purpose = "run") -> Network:
        """The network with these weights on `device`, in eval mode.

        To "train" (or to be saved) it has these very tensors. To "run" or to "trace" it lacks the auxiliary head, and
        normalisations are folded into convolutions; to "run" it also has the fastest memory layout of `device`.
        """
        with torch.device("meta"), _Unfilled():  # random weights that would be overwritten take a second
            model = build_model(self.config.model)
        load_weights(model, self.weights, assign=True)
        if purpose == "train":
            return model.eval().to(device)
        model.auxiliary_head = None  # for training only
        return for_inference(model, device) if purpose == "run" else fold_normalisations(model).to(device)


class _Unfilled(TorchFunctionMode):
    """New tensors are left as they are. (To fill one that has no memory, torch would import its compiler.)"""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func in _FILLERS:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `path` atomically.

    Raises:
        TdpnError: the disk is full or the folder cannot be written.
    """
    tensors = {_MODEL + name: value.detach().cpu().contiguous() for name, value in checkpoint.weights.items()}
    tensors |= {_OPTIMISER + name: value.detach().cpu().contiguous() for name, value in checkpoint.optimiser.items()}
    versions = {"tdpn": __version__, "torch": torch.__version__, "python": platform.python_version()}
    header = {
        "schema": SCHEMA,
        "config": to_dict(checkpoint.config),
        "state": dataclasses.asdict(checkpoint.state),
        "world": checkpoint.world,
        "resumable": checkpoint.resumable,
        "versions": versions,
    }
    text = json.dumps(header, ensure_ascii=False)
    metadata = {_ENTRY: f"{_digest(text, tensors)}\n{text}"}  # one entry: several would be written in any order
    with atomic_path(path) as temporary:
        try:
            temporary.touch()
            mode = temporary.stat().st_mode
            save_file(tensors, temporary, metadata=metadata)
            temporary.chmod(mode)  # safetensors would let nobody else read it
        except SafetensorError as error:
            raise disk_error(error) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify a checkpoint.

    Raises:
        CheckpointError: missing, damaged, of another program or a later schema.
        ConfigError: its settings do not fit this version's fields.
    """
    header, tensors = _read(path)
    if header.get("schema") != SCHEMA:
        raise CheckpointError(
            f"checkpoint schema {header.get('schema')}, this version reads {SCHEMA}",
            where=path,
            hint="use the tdpn version that wrote it",
        )
    config = from_dict(RunConfig, header["config"])
    return Checkpoint(
        config=dataclasses.replace(config, data=find_data(config.data, path)),
        state=from_dict(TrainingState, header["state"]),
        weights={name.removeprefix(_MODEL): value for name, value in tensors.items() if name.startswith(_MODEL)},
        optimiser={
            name.removeprefix(_OPTIMISER): value for name, value in tensors.items() if name.startswith(_OPTIMISER)
        },
        world=header.get("world", 1),
        resumable=header.get("resumable", True),
        versions=header["versions"],
    )


def find_data(data: DataConfig, near: Path) -> DataConfig:
    """`data` with the path of its folder as it is found from here.

    A relative path is looked for in the working directory, then in every folder above `near` (a file of the run): a
    project that was moved with its `runs/` and `data/` finds its data. Then comes the place where the data was when the
    run began. Where nothing is found the path stays what it was.
    """
    named = Path(data.path)
    places = [named, *(folder / named for folder in near.absolute().parents), Path(data.absolute)]
    found = next((place for place in places if data.path and (place / MANIFEST).is_file()), named)
    return dataclasses.replace(data, path=str(found) if data.path else "")


def load_weights(model: torch.nn.Module, weights: dict[str, Tensor], *, assign: bool = False) -> None:
    """Load a state dict whole; with `assign` the model takes the tensors themselves, not their values.

    Raises:
        CheckpointError: a tensor is missing, left over, or of another shape; the message names the first of each.
    """
    own = model.state_dict()
    missing = sorted(own.keys() - weights.keys())
    unexpected = sorted(weights.keys() - own.keys())
    misshapen = [name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape]
    if missing or unexpected or misshapen:
        parts = [
            f"{len(names)} {kind} (first: {names[0]})"
            for kind, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
            if names
        ]
        raise CheckpointError(f"weights do not fit the model: {', '.join(parts)}")
    model.load_state_dict(weights, assign=assign)


def is_checkpoint(path: Path) -> bool:
    """Whether `path` is a file that `save_checkpoint` wrote, by its header; damage is not looked for."""
    try:
        with safe_open(path, framework="pt") as file:
            return _ENTRY in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if path.is_dir():
        best = path / "best.pt"
        hint = f"name {best}" if best.is_file() else "name a checkpoint in it"
        raise CheckpointError("a folder, not a checkpoint", where=path, hint=hint)
    if not path.is_file():
        raise CheckpointError("no such checkpoint", where=path, hint="`tdpn train` writes them under runs/")
    damaged = "use another checkpoint; this one was changed or cut after it was written"
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise CheckpointError(f"not a readable checkpoint ({error})", where=path, hint=damaged) from error
    if _ENTRY not in metadata:
        raise CheckpointError("a safetensors file, but not a checkpoint of tdpn", where=path)
    digest, _, text = metadata[_ENTRY].partition("\n")
    if digest != _digest(text, tensors):
        raise CheckpointError("damaged: its digest does not match its content", where=path, hint=damaged)
    header: dict[str, Any] = json.loads(text)
    return header, tensors


def _digest(header: str, tensors: dict[str, Tensor]) -> str:
    hasher = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        value = tensors[name]
        hasher.update(f"\0{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        hasher.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return hasher.hexdigest()
