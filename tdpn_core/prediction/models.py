"""What scores clips, whatever it is: a network, or a file that was exported from one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from tdpn_core.config.schema import RunConfig
from tdpn_core.errors import UsageError
from tdpn_core.evaluation.inference import view_probabilities
from tdpn_core.model.base import Network
from tdpn_core.prediction.exported import open_exported
from tdpn_core.weights.file_formats import exported_format
from tdpn_core.weights.open_checkpoint import check_own, open_checkpoint


class Model(Protocol):
    """What prediction asks of a network in whatever form."""

    @property
    def config(self) -> RunConfig:
        """Classes, sampling, and how the frames of its data were made."""

    @property
    def epoch(self) -> int | None:
        """Epochs that it was trained for; None where the file does not say."""

    @property
    def averaged(self) -> bool | None:
        """Of a file with raw and averaged (EMA) weights: whether these are the averaged ones; else None."""

    def probabilities(self, views: Tensor) -> dict[str, Tensor]:
        """Of each head float64 (V, classes) on the CPU, from uint8 views (V, C, T, H, W) of any clips."""

    def inside(self) -> Network:
        """The network, to be looked into.

        Raises:
            UsageError: this form does not show it.
        """


@dataclass(frozen=True)
class TrainedModel:
    """A network in eval mode, with the settings that its clips are sampled by."""

    network: Network
    config: RunConfig
    epoch: int | None = None
    averaged: bool | None = None

    def probabilities(self, views: Tensor) -> dict[str, Tensor]:
        """Of each head float64 (V, classes) on the CPU, from uint8 views (V, C, T, H, W) of any clips."""
        return view_probabilities(self.network, views, self.config.sampling, self.config.train.precision)

    def inside(self) -> Network:
        """The network."""
        return self.network


def open_model(
    path: Path,
    *,
    device: torch.device,
    classes: Path | None = None,
    ema: bool | None = None,
    trusted: bool = False,
) -> Model:
    """A checkpoint, ours or another project's, or an exported file, ready to score clips.

    Args:
        path: the file; its content tells what it is.
        device: of a checkpoint's network; exported files run on the CPU.
        classes: names of the classes of another project's checkpoint.
        ema: averaged or raw weights of another project's checkpoint; None uses those that the project evaluates.
        trusted: the user vouches for a .pt2 file.

    Raises:
        CheckpointError: missing, damaged, or of no known kind.
        ToolError: the package that runs it is not installed.
        UsageError: `classes` or `ema` for a file that knows its own, or a .pt2 file that nobody vouches for.
    """
    kind = exported_format(path)
    if kind is None:
        loaded = open_checkpoint(path, classes=classes, ema=ema)
        return TrainedModel(loaded.build(device), loaded.config, loaded.state.epoch or None, loaded.averaged)
    if classes is not None:
        raise UsageError("an exported file knows its own classes", where="--classes")
    check_own(ema)
    return open_exported(path, kind, trusted=trusted)
