"""Load a checkpoint of tdpn or of another project, including image networks, as a network that computes features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from tdpn_core.checkpoint import Checkpoint, TrainingState, is_checkpoint, load_checkpoint
from tdpn_core.config.schema import RunConfig, TrainConfig
from tdpn_core.errors import UsageError
from tdpn_core.shards import load_manifest
from tdpn_core.shards.data_config import data_config
from tdpn_core.weights.convert import import_weights, state_shapes

IMAGE_FRAMES = 8
"""Default number of segments of a clip for an image network."""

_HEADS = ("head.", "auxiliary_head.")


def open_frozen(path: Path, data: Path, *, size: int | None = None, frames: int | None = None) -> Checkpoint:
    """Return the network at `path` with the classes of the prepared `data` and without weights of heads.

    An image network gets `frames` frames spread over a clip (default 8), with an input size of `size` pixels (default:
    the largest that the stored frames allow, at most 224).

    Raises:
        CheckpointError: the file is unreadable, from an unknown project, or incomplete.
        UsageError: `size` or `frames` is given for a checkpoint of tdpn, which has its own.
    """
    own = data_config(data)
    if is_checkpoint(path):
        if size or frames:
            what = "input size and number of frames of a tdpn checkpoint cannot be changed"
            raise UsageError(what, where="--size" if size else "--frames", hint="leave it out")
        stored = load_checkpoint(path)
        model, sampling, weights = stored.config.model, stored.config.sampling, stored.weights
    else:
        imported = import_weights(path).complete()
        images = imported.layout == "NCHW"
        model = imported.at(frames or (IMAGE_FRAMES if images else imported.config.num_frames))
        stored_side = load_manifest(data).settings["short_side"]
        fitting = min(224, max(32, stored_side * 7 // 8 // 32 * 32)) if images else model.input_size
        model, sampling = replace(model, input_size=size or fitting), imported.sampling
        side = round(sampling.short_side * model.input_size / imported.config.input_size)
        sampling, weights = replace(sampling, short_side=side), imported.weights
    config = RunConfig(
        recipe="features",
        model=replace(model, num_classes={head: len(names) for head, names in own.classes.items()}),
        sampling=sampling,
        train=TrainConfig(),
        data=own,
    )
    counters = {
        name: torch.zeros(shape, dtype=torch.int64)
        for name, shape in state_shapes(config.model).items()
        if name.endswith("num_batches_tracked") and name not in weights
    }
    frozen = {name: value for name, value in weights.items() if not name.startswith(_HEADS)}
    return Checkpoint(config=config, state=TrainingState(), weights={**counters, **frozen}, optimiser={})


def with_heads(frozen: Checkpoint) -> dict[str, torch.Tensor]:
    """Return the weights of a frozen network, with heads filled with zeros."""
    heads = {
        name: torch.zeros(shape, dtype=torch.int64 if name.endswith("num_batches_tracked") else torch.float32)
        for name, shape in state_shapes(frozen.config.model).items()
        if name.startswith(_HEADS)
    }
    return {**heads, **frozen.weights}
