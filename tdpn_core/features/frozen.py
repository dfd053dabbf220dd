"""Load a checkpoint of tdpn or of another project, including image networks, as a network that computes features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tdpn_core import defaults
from tdpn_core.checkpoint import Checkpoint, TrainingState, is_checkpoint, load_checkpoint
from tdpn_core.config.schema import DataConfig, RunConfig, SamplingConfig, TrainConfig
from tdpn_core.errors import UsageError
from tdpn_core.model.base import Network
from tdpn_core.model.precision import scoring_precision
from tdpn_core.sampling.transforms import normalise
from tdpn_core.shards.data_config import data_config
from tdpn_core.shards.manifest import classes_digest
from tdpn_core.weights.convert import import_weights, state_shapes
from tdpn_core.weights.open_checkpoint import HEAD

IMAGE_FRAMES = 8
"""Default number of segments of a clip for an image network."""

_HEADS = ("head.", "auxiliary_head.")


def open_frozen(
    path: Path,
    data: Path | None = None,
    *,
    size: int | None = None,
    frames: int | None = None,
    views: str | None = None,
) -> Checkpoint:
    """Return the network at `path` with the classes of the prepared `data` and without weights of heads.

    An image network gets `frames` frames spread over a clip (default 8), with an input size of `size` pixels (default:
    the largest that the stored frames allow, at most 224). Without `data`, frames are prepared as for a prediction with
    the network. `views` replaces the test views of the checkpoint.

    Raises:
        CheckpointError: the file is unreadable, from an unknown project, or incomplete.
        UsageError: `size` or `frames` is given for a checkpoint of tdpn, which has its own.
    """
    own = None if data is None else data_config(data)
    if is_checkpoint(path):
        if size or frames:
            what = "input size and number of frames of a tdpn checkpoint cannot be changed"
            raise UsageError(what, where="--size" if size else "--frames", hint="leave it out")
        stored = load_checkpoint(path)
        model, sampling, weights = stored.config.model, stored.config.sampling, stored.weights
        own = own or stored.config.data
    else:
        imported = import_weights(path).complete()
        images = imported.layout == "NCHW"
        model = imported.at(frames or (IMAGE_FRAMES if images else imported.config.num_frames))
        stored_side = defaults.SHORT_SIDE if own is None else own.short_side
        fitting = min(224, max(32, stored_side * 7 // 8 // 32 * 32)) if images else model.input_size
        model, sampling = replace(model, input_size=size or fitting), imported.sampling
        side = round(sampling.short_side * model.input_size / imported.config.input_size)
        sampling, weights = replace(sampling, short_side=side), imported.weights
        own = own or _unprepared(imported.project.name, model.modality, side)
    config = RunConfig(
        recipe="features",
        model=replace(model, num_classes={head: len(names) for head, names in own.classes.items()}),
        sampling=sampling if views is None else replace(sampling, views=views),
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


def _unprepared(project: str, modality: str, short_side: int) -> DataConfig:
    """Return how frames are prepared for another project's network, for clips without classes."""
    classes = {HEAD: ["unknown"]}
    return DataConfig(
        path="",
        dataset=project,
        classes=classes,
        classes_digest=classes_digest(classes),
        digest="",
        short_side=short_side,
        encoding={"modality": modality},
    )


def with_heads(frozen: Checkpoint) -> dict[str, torch.Tensor]:
    """Return the weights of a frozen network, with heads filled with zeros."""
    heads = {
        name: torch.zeros(shape, dtype=torch.int64 if name.endswith("num_batches_tracked") else torch.float32)
        for name, shape in state_shapes(frozen.config.model).items()
        if name.startswith(_HEADS)
    }
    return {**heads, **frozen.weights}


def build_frozen(frozen: Checkpoint, device: torch.device) -> Network:
    """Return the network in eval mode on `device`."""
    return replace(frozen, weights=with_heads(frozen)).build(device)


@torch.inference_mode()
def compute_features(model: Network, clips: Tensor, sampling: SamplingConfig) -> npt.NDArray[np.float32]:
    """Return the spatial mean of the feature map before the classifier.

    Args:
        model: the network, on its device.
        clips: (rows, channels, frames, H, W), uint8.
        sampling: mean and standard deviation of pixels.

    Returns:
        (rows, steps, channels).
    """
    device = next(model.parameters()).device
    with scoring_precision("auto", device).autocast():
        top = model.feature_maps(normalise(clips.to(device), sampling)).top
    values: npt.NDArray[np.float32] = top.float().mean((3, 4)).transpose(1, 2).cpu().numpy()
    return values
