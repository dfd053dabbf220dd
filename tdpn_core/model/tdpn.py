"""TDPN: a backbone, temporal differences on its levels, a pyramid over them, a classifier.

"TDPN: A Temporal Difference Pyramid Network for Action Recognition". The parts are built by `factory` and passed in.
"""

from __future__ import annotations

from torch import Tensor

from tdpn_core.config import Level, ModelConfig
from tdpn_core.model.difference import TemporalDifference, sampled_frames
from tdpn_core.model.heads import AuxiliaryHead, Head
from tdpn_core.model.network import Network
from tdpn_core.model.pyramid import Pyramid
from tdpn_core.model.resnet import ResNet


class TDPN(Network):
    """The network of the paper; without temporal differences, over res4 and res5, it is TPN."""

    backbone: ResNet

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
        super().__init__(config, backbone=backbone, head=head, auxiliary_head=auxiliary_head)
        self.temporal_difference = temporal_difference
        self.pyramid = pyramid

    def maps(self, clip: Tensor) -> dict[Level, Tensor]:
        """res2..res5 (N, C, T, H', W') with their temporal differences, as they enter the pyramid."""
        step = self.config.frames_per_step
        around = clip if step == self.config.window else sampled_frames(clip, step)
        moving: dict[Level, Tensor] = self.temporal_difference(around, super().maps(clip))
        return moving

    def fuse(self, levels: dict[Level, Tensor]) -> Tensor:
        """The fused pyramid (N, C, T', H/32, W/32)."""
        fused: Tensor = self.pyramid(levels)
        return fused
