"""TDPN: a backbone, temporal differences on its levels, a pyramid over them, a classifier (the paper's Fig. 2).

"TDPN: A Temporal Difference Pyramid Network for Action Recognition". `factory` builds the parts and passes them in.
"""

from __future__ import annotations

from torch import Tensor

from tdpn_core.config.schema import ModelConfig
from tdpn_core.model.base import FeatureMaps, Network
from tdpn_core.model.heads import AuxiliaryHead, Head
from tdpn_core.model.pyramid import Pyramid
from tdpn_core.model.resnet import ResNet
from tdpn_core.model.temporal_difference import TemporalDifference, sampled_frames


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

    def feature_maps(self, clip: Tensor) -> FeatureMaps:
        """The levels with their temporal differences, and the fused pyramid."""
        frames = self.frames(clip)  # (N, 3, T, H, W)
        levels = self.backbone(frames)  # res2..res5: (N, C, T, H/4, W/4) .. (N, 8 C, T, H/32, W/32)
        levels = self.temporal_difference(self._window(clip), levels)  # global and local modules; shapes stay
        top = self.pyramid(levels)  # (N, 8 C, T', H/32, W/32), T' is 1 by default
        return FeatureMaps(levels, top)

    def _window(self, clip: Tensor) -> Tensor:
        """The frames that the local module reads: (N, 3, T * window, H, W)."""
        step = self.config.frames_per_step
        return clip if step == self.config.window else sampled_frames(clip, step)
