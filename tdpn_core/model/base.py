"""The base class of all networks: a module for clips with a configuration and a common interface.

Trainer, evaluation, prediction and export use only this interface.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from tdpn_core.config.families import Level
from tdpn_core.config.model import ModelConfig
from tdpn_core.errors import UsageError
from tdpn_core.model.heads import AuxiliaryHead, Head
from tdpn_core.model.layers import Backbone, stacked
from tdpn_core.model.temporal_difference import sampled_frames

SMALLEST = 32  # pixels a side: res5 then has one position


class FeatureMaps(NamedTuple):
    """Feature maps of a clip, before classification."""

    levels: dict[Level, Tensor]
    """res2..res5, each (N, C, T', H', W')."""

    top: Tensor
    """The map (N, C, T', H/32, W/32) that the head averages and classifies."""


class TrainingOutput(NamedTuple):
    """Output in training mode: logits (N, classes) by head, and those of the auxiliary classifier."""

    logits: dict[str, Tensor]
    auxiliary: dict[str, Tensor]


class Network(nn.Module):
    """A backbone with a classifier, for normalised clips (N, channels, T * config.frames_per_step, H, W).

    If `frames_per_step` is more than 1, the frames around each sampled frame are consecutive in the clip, with the
    sampled frame at the centre.
    """

    def __init__(
        self, config: ModelConfig, *, backbone: Backbone, head: Head, auxiliary_head: AuxiliaryHead | None = None
    ):
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.head = head
        self.auxiliary_head = auxiliary_head

    def forward(self, clip: Tensor) -> Tensor | dict[str, Tensor] | TrainingOutput:
        """Return logits (N, classes), or a dictionary for several heads; `TrainingOutput` in training mode.

        Raises:
            UsageError: the clip's shape does not match the configuration.
        """
        levels, top = self.feature_maps(clip)
        logits: dict[str, Tensor] = self.head(top)
        if self.training:
            return TrainingOutput(logits, self.auxiliary_head(levels["res4"]) if self.auxiliary_head else {})
        return logits if len(logits) > 1 else next(iter(logits.values()))

    def feature_maps(self, clip: Tensor) -> FeatureMaps:
        """Return the backbone's levels, and the map to classify: the backbone's top, unless overridden.

        Raises:
            UsageError: the clip's shape does not match the configuration.
        """
        levels = self.backbone(self.frames(clip))
        return FeatureMaps(levels, self.backbone.top(levels))

    def frames(self, clip: Tensor) -> Tensor:
        """Return the first convolution's input: the sampled frames (N, C, T, H, W), or stacks of frames (two-stream).

        Raises:
            UsageError: the clip's shape does not match the configuration.
        """
        self.check(clip)
        step, stack = self.config.frames_per_step, self.config.stack
        return stacked(clip, stack) if stack > 1 else sampled_frames(clip, step)

    def check(self, clip: Tensor) -> None:
        """Check the shape of a clip.

        Raises:
            UsageError: the clip's shape does not match the configuration.
        """
        channels, step = self.config.channels, self.config.frames_per_step
        frames = self.config.num_frames * step
        shape = tuple(clip.shape)
        if clip.ndim == 5 and shape[1:3] == (channels, frames) and min(shape[3:]) >= SMALLEST:
            return
        counted = f"{self.config.num_frames} x {step} = {frames}" if step > 1 else f"{frames}"
        raise UsageError(
            f"a clip must be (N, {channels}, {counted} frames, height, width) of at least {SMALLEST} pixels per side, "
            f"not {shape}"
        )


def classifier(config: ModelConfig, backbone: Backbone, network: type[Network] = Network) -> Network:
    """Return a network of `backbone` with a classifier on its top."""
    head = Head(backbone.top_channels, config.num_classes, config.dropout, config.pooling)
    return network(config, backbone=backbone, head=head)
