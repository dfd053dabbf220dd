"""Checkpoints: one safetensors file with tensors, everything else as JSON in its header, and a digest over both.

Loading runs no code. A flipped bit anywhere in tensors or settings changes the digest (safetensors alone would not
detect it), and files are written atomically. The suffix `.pt` is a convention of the field.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tdpn_core.config.schema import DataConfig, RunConfig, from_dict, to_dict
from tdpn_core.errors import CheckpointError
from tdpn_core.files import atomic_path, disk_error
from tdpn_core.model.base import Network
from tdpn_core.model.cpu.fold_bn import fold_normalisations, for_inference
from tdpn_core.model.registry import build_model
from tdpn_core.model.without_values import without_values
from tdpn_core.shards.manifest import MANIFEST
from tdpn_core.version import __version__

Purpose = Literal["run", "trace", "train"]
"""Purpose for which a network is built."""

SCHEMA = 2  # 1: a network's settings had the fields of every family
RUNNING = ("loss", "objective", "correct", "clips", "seconds", "waiting")
_ENTRY = "tdpn"
_STRICT = {"extra": "forbid"}
_MODEL, _OPTIMISER = "model.", "optimiser."


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingState:
    """Progress of a run. With weights and optimiser, it is sufficient to resume, since randomness is derived."""

    epoch: int = 0
    """Number of finished epochs."""

    batch: int = 0
    """Number of finished batches of the current epoch."""

    step: int = 0
    """Number of optimiser steps since the start."""

    running: dict[str, float] = dataclasses.field(default_factory=dict)
    """Sums over the current epoch, by the names in `RUNNING`."""

    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    """One row of metrics per finished epoch, as in `metrics.csv`."""

    best_score: float = -1.0
    """Highest `score_of` an epoch so far, in [0, 1]; -1 before the first."""

    best_loss: float = math.inf
    """Loss of the best epoch; decides between equal scores."""

    drops: int = 0
    """Number of reductions of the learning rate by the plateau schedule."""

    stale_epochs: int = 0
    """Epochs since the last improvement, for the plateau schedule."""


def score_of(row: Mapping[str, float]) -> tuple[str, float]:
    """Return the metric that ranks an epoch, its name and value: validation mAP or top-1, or else training top-1."""
    name = next(name for name in ("val_map", "val_top1", "top1") if name in row)
    return name, row[name]


def standing(row: Mapping[str, float]) -> tuple[float, float]:
    """Return the rank of an epoch, higher for a better one: by its score, then by its loss."""
    return score_of(row)[1], -row.get("val_loss", row["loss"])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """How a network's confidence is read, as chosen on validation clips by `tdpn eval --calibrate`.

    For multi-label data it is chosen by the validation of the run, too.
    """

    __pydantic_config__ = _STRICT

    temperature: dict[str, float] = dataclasses.field(default_factory=dict)
    """Number that divides the logits, by head."""

    threshold: dict[str, float] = dataclasses.field(default_factory=dict)
    """Smallest probability of an answer after that, by head; below it, the answer is "none of these"."""

    class_thresholds: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    """For multi-label data, in place of both: the probability from which a clip has a class, by head in label order."""

    data: str
    """Digest of the data on which they were chosen."""

    split: str
    views: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """State of a run."""

    config: RunConfig
    state: TrainingState
    weights: dict[str, Tensor]
    """The model's state dict."""

    optimiser: dict[str, Tensor]
    """The optimiser's buffers by `<buffer>.<parameter>`; empty if not resumable."""

    resumable: bool = True
    """Whether a run can resume from it (`last.pt`), or it contains only weights (`best.pt`, a fourth of the size)."""

    world: int = 1
    """Number of processes that trained together; with another number, batch statistics differ."""

    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    """Versions of this package, torch and Python when it was saved."""

    averaged: bool | None = None
    """For another project's file with raw and averaged (EMA) weights: whether these are the averaged ones."""

    calibration: Calibration | None = None
    """Of these weights; None if they were not calibrated."""

    def build(self, device: torch.device, purpose: Purpose = "run") -> Network:
        """Return the network with these weights on `device`, in eval mode.

        For "train" (also to save it) it shares these tensors. For "run" and "trace" it lacks the auxiliary head, and
        normalisations are folded into convolutions; for "run" it also has the fastest memory layout of `device`.
        """
        with without_values():
            model = build_model(self.config.model)
        load_weights(model, self.weights, assign=True)
        if purpose == "train":
            return model.eval().to(device)
        model.auxiliary_head = None  # for training only
        return for_inference(model, device) if purpose == "run" else fold_normalisations(model).to(device)


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
    if checkpoint.calibration is not None:
        header["calibration"] = dataclasses.asdict(checkpoint.calibration)
    _write(path, header, tensors)


def store_calibration(path: Path, calibration: Calibration) -> None:
    """Store a calibration in the checkpoint at `path`; everything else in it is unchanged.

    Raises:
        CheckpointError: it is missing or damaged.
        TdpnError: the disk is full or the folder cannot be written.
    """
    header, tensors = _read(path)
    _write(path, {**header, "calibration": dataclasses.asdict(calibration)}, tensors)


def _write(path: Path, header: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    text = json.dumps(header, ensure_ascii=False)
    metadata = {_ENTRY: f"{_digest(text, tensors)}\n{text}"}  # one entry, since the order of several is not defined
    with atomic_path(path) as temporary:
        try:
            temporary.touch()
            mode = temporary.stat().st_mode
            save_file(tensors, temporary, metadata=metadata)
            temporary.chmod(mode)  # safetensors makes it readable only for the owner
        except SafetensorError as error:
            raise disk_error(error) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify a checkpoint.

    Raises:
        CheckpointError: it is missing, damaged, from another program or of a later schema.
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
        calibration=from_dict(Calibration, header["calibration"]) if "calibration" in header else None,
    )


def find_data(data: DataConfig, near: Path) -> DataConfig:
    """Return `data` with the path of its folder as found from here.

    A relative path is looked up in the working directory, then in every folder above `near` (a file of the run), so
    that a project that was moved with its `runs/` and `data/` finds its data. Then the absolute path at the start of
    the run is tried. If nothing is found, the path is unchanged.
    """
    named = Path(data.path)
    places = [named, *(folder / named for folder in near.absolute().parents), Path(data.absolute)]
    found = next((place for place in places if data.path and (place / MANIFEST).is_file()), named)
    return dataclasses.replace(data, path=str(found) if data.path else "")


def load_weights(model: torch.nn.Module, weights: dict[str, Tensor], *, assign: bool = False) -> None:
    """Load a complete state dict; with `assign`, the model uses the tensors themselves instead of copying values.

    Raises:
        CheckpointError: tensors are missing, unexpected, or of another shape; the message names the first of each.
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
    """Return whether `path` was written by `save_checkpoint`, by its header; damage is not detected."""
    try:
        with safe_open(path, framework="pt") as file:
            return _ENTRY in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if path.is_dir():
        best = path / "best.pt"
        hint = f"give {best}" if best.is_file() else "give a checkpoint in it"
        raise CheckpointError("a folder, not a checkpoint", where=path, hint=hint)
    if not path.is_file():
        raise CheckpointError("no such checkpoint", where=path, hint="`tdpn train` writes them under runs/")
    damaged = "use another checkpoint; this one was changed or truncated after it was written"
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
