"""TDPN: a backbone, temporal differences on its levels, a pyramid over them, a classifier.

"TDPN: A Temporal Difference Pyramid Network for Action Recognition". The parts are built by `factory` and passed in.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from tdpn_core.config import Level, ModelConfig
from tdpn_core.errors import UsageError
from tdpn_core.model.difference import TemporalDifference, sampled_frames
from tdpn_core.model.heads import AuxiliaryHead, Head
from tdpn_core.model.layout import Layout, arrange
from tdpn_core.model.pyramid import Pyramid
from tdpn_core.model.resnet import ResNet

SMALLEST = 32  # pixels a side: res5 then has one position


class TrainingOutput(NamedTuple):
    """What a network returns in training mode: logits (N, classes) of each head, and the auxiliary classifier's."""

    logits: dict[str, Tensor]
    auxiliary: dict[str, Tensor]


class TDPN(nn.Module):
    """The network of a `ModelConfig`, over normalised clips (N, 3, T * config.frames_per_step, H, W).

    With a local module that reads 5 frames around each sampled one, these five follow one another in the clip and the
    third is the sampled frame. `layout` forces a memory layout; None takes the one measured to be fastest.
    """

    layout: Layout | None = None

    def __init__(
        self,
        config: ModelConfig,
        *,
        backbone: ResNet,
        temporal_difference: TemporalDifference,
        pyramid: Pyramid,
        head: Head,
        auxiliary_head: AuxiliaryHead | None,
    ):
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.temporal_difference = temporal_difference
        self.pyramid = pyramid
        self.head = head
        self.auxiliary_head = auxiliary_head

    def forward(self, clip: Tensor) -> Tensor | dict[str, Tensor] | TrainingOutput:
        """Logits (N, classes), a dictionary of them if there are several heads; `TrainingOutput` in training mode.

        Raises:
            UsageError: the clip has not the shape that the configuration asks for.
        """
        levels = self.levels(clip)
        logits: dict[str, Tensor] = self.head(self.pyramid(levels))
        if self.training:
            return TrainingOutput(logits, self.auxiliary_head(levels["res4"]) if self.auxiliary_head else {})
        return logits if len(logits) > 1 else next(iter(logits.values()))

    def features(self, clip: Tensor) -> Tensor:
        """The fused pyramid (N, C, T', H/32, W/32) that the head averages and classifies."""
        fused: Tensor = self.pyramid(self.levels(clip))
        return fused

    def levels(self, clip: Tensor) -> dict[Level, Tensor]:
        """res2..res5 (N, C, T, H', W') with their temporal differences, as they enter the pyramid."""
        self._check(clip)
        arrange(self, clip.device.type, self.layout)
        levels = self.backbone(sampled_frames(clip, self.config.frames_per_step))
        moving: dict[Level, Tensor] = self.temporal_difference(clip, levels)
        return moving

    def _check(self, clip: Tensor) -> None:
        step = self.config.frames_per_step
        frames = self.config.num_frames * step
        shape = tuple(clip.shape)
        if clip.ndim == 5 and shape[1:3] == (3, frames) and min(shape[3:]) >= SMALLEST:
            return
        counted = f"{self.config.num_frames} x {step} = {frames}" if step > 1 else f"{frames}"
        raise UsageError(
            f"a clip is (N, 3, {counted} frames, height, width) of at least {SMALLEST} pixels a side, not {shape}"
        )
