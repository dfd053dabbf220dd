"""Common interface for scoring clips with a network or an exported file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from tdpn_core.checkpoint import Calibration
from tdpn_core.config.schema import RunConfig
from tdpn_core.errors import UsageError
from tdpn_core.evaluation.inference import view_probabilities
from tdpn_core.model.base import Network
from tdpn_core.prediction.exported import open_exported
from tdpn_core.weights.file_formats import exported_format
from tdpn_core.weights.open_checkpoint import check_own, open_checkpoint


class Model(Protocol):
    """What prediction requires of a model."""

    @property
    def config(self) -> RunConfig:
        """Settings: classes, sampling, and the encoding of its training data."""

    @property
    def epoch(self) -> int | None:
        """Number of training epochs; None if the file does not contain it."""

    @property
    def averaged(self) -> bool | None:
        """For files with raw and averaged (EMA) weights: whether the averaged ones are used; else None."""

    @property
    def calibration(self) -> Calibration | None:
        """How its confidence is read; None if it was not calibrated."""

    def probabilities(self, views: Tensor) -> dict[str, Tensor]:
        """Return float64 (V, classes) by head on the CPU, from uint8 views (V, C, T, H, W)."""

    def inside(self) -> Network:
        """Return the network, to inspect its layers.

        Raises:
            UsageError: this kind of model does not provide it.
        """


@dataclass(frozen=True)
class TrainedModel:
    """A network in eval mode, with its sampling settings."""

    network: Network
    config: RunConfig
    epoch: int | None = None
    averaged: bool | None = None
    calibration: Calibration | None = None

    def probabilities(self, views: Tensor) -> dict[str, Tensor]:
        """Return float64 (V, classes) by head on the CPU, from uint8 views (V, C, T, H, W)."""
        return view_probabilities(self.network, views, self.config, self.config.train.precision)

    def inside(self) -> Network:
        """Return the network."""
        return self.network


def open_model(
    path: Path,
    *,
    device: torch.device,
    classes: Path | None = None,
    ema: bool | None = None,
    trusted: bool = False,
) -> Model:
    """Open a checkpoint, of tdpn or another project, or an exported file, for scoring clips.

    Args:
        path: the file; its format is detected from its content.
        device: device of a checkpoint's network; exported files run on the CPU.
        classes: file with the class names of another project's checkpoint.
        ema: averaged or raw weights of another project's checkpoint; None: those that the project evaluates.
        trusted: the user trusts a .pt2 file, which can run code.

    Raises:
        CheckpointError: the file is missing, damaged, or of an unknown kind.
        ToolError: the package that runs it is not installed.
        UsageError: `classes` or `ema` for a file that contains its own, or a .pt2 file that is not `trusted`.
    """
    kind = exported_format(path)
    if kind is None:
        loaded = open_checkpoint(path, classes=classes, ema=ema)
        network, epoch = loaded.build(device), loaded.state.epoch or None
        return TrainedModel(network, loaded.config, epoch, loaded.averaged, loaded.calibration)
    if classes is not None:
        raise UsageError("an exported file contains its own classes", where="--classes")
    check_own(ema)
    return open_exported(path, kind, trusted=trusted)
