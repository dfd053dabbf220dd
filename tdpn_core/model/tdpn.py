"""TDPN: a backbone, temporal differences on its levels, a pyramid and a classifier (the paper's Fig. 2).

"TDPN: A Temporal Difference Pyramid Network for Action Recognition", on SlowOnly, TSN and TSM.
"""

from __future__ import annotations

from torch import Tensor

from tdpn_core.config.families import LEVELS, Family, Published
from tdpn_core.config.family_settings import (
    DifferenceConfig,
    PyramidConfig,
    TDPNConfig,
    TSMTDPNConfig,
    TSNTDPNConfig,
)
from tdpn_core.config.model import ModelConfig
from tdpn_core.model.base import FeatureMaps, Network
from tdpn_core.model.baselines.resnets import slowonly, tsn
from tdpn_core.model.baselines.tsm import tsm
from tdpn_core.model.heads import AuxiliaryHead, Head
from tdpn_core.model.layers import Backbone
from tdpn_core.model.pyramid import Pyramid
from tdpn_core.model.resnet import scaled
from tdpn_core.model.temporal_difference import TemporalDifference, sampled_frames


class TDPN(Network):
    """The network of the paper; without temporal differences and on res4 and res5, it is TPN."""

    backbone: Backbone

    def __init__(
        self,
        config: ModelConfig,
        *,
        backbone: Backbone,
        temporal_difference: TemporalDifference,
        pyramid: Pyramid,
        head: Head,
        auxiliary_head: AuxiliaryHead | None,
    ):
        super().__init__(config, backbone=backbone, head=head, auxiliary_head=auxiliary_head)
        self.temporal_difference = temporal_difference
        self.pyramid = pyramid

    def feature_maps(self, clip: Tensor) -> FeatureMaps:
        """Return the levels with their temporal differences, and the fused pyramid."""
        frames = self.frames(clip)  # (N, 3, T, H, W)
        levels = self.backbone(frames)  # res2..res5: (N, C, T, H/4, W/4) .. (N, 8 C, T, H/32, W/32)
        levels = self.temporal_difference(self._window(clip), levels)  # global and local modules; same shapes
        top = self.pyramid(levels)  # (N, 8 C, T', H/32, W/32), T' is 1 by default
        return FeatureMaps(levels, top)

    def _window(self, clip: Tensor) -> Tensor:
        """Return the frames for the local module: (N, 3, T * window, H, W)."""
        step = self.config.frames_per_step
        return clip if step == self.temporal_difference.window else sampled_frames(clip, step)


def with_pyramid(config: PyramidConfig, backbone: Backbone) -> TDPN:
    """Build a network with the pyramid, and with temporal differences if the settings have any, on a backbone.

    Raises:
        ConfigError: temporal rates that do not divide each other.
    """
    channels = backbone.channels
    top = channels["res5"]
    return TDPN(
        config,
        backbone=backbone,
        temporal_difference=_differences(config, backbone),
        pyramid=Pyramid(
            channels,
            levels=config.levels,
            num_frames=config.num_frames,
            width=scaled(top // 2, 1),
            flow=config.flow,
            separable=config.spatial_modulation == "separable",
            temporal_rates=config.temporal_rates,
        ),
        head=Head(top, config.num_classes, config.dropout, config.pooling),
        auxiliary_head=AuxiliaryHead(channels["res4"], top, config.num_classes, config.dropout)
        if config.auxiliary_head
        else None,
    )


def _differences(config: PyramidConfig, backbone: Backbone) -> TemporalDifference:
    if not isinstance(config, DifferenceConfig):
        return TemporalDifference({}, backbone.channels, window=1)
    return TemporalDifference(
        dict(zip(LEVELS, config.temporal, strict=True)),
        backbone.channels,
        width=config.width,
        window=config.window,
        local_fusion=config.local_fusion,
        in_channels=config.channels,
        reduction=backbone.reduction,
    )


def _over_slowonly(config: TDPNConfig) -> TDPN:
    return with_pyramid(config, slowonly(config, attention=config.attends, position_resize=config.position_resize))


def _over_tsn(config: TSNTDPNConfig) -> TDPN:
    return with_pyramid(config, tsn(config, attention=config.attends, position_resize=config.position_resize))


def _over_tsm(config: TSMTDPNConfig) -> TDPN:
    return with_pyramid(config, tsm(config, attention=config.attends, position_resize=config.position_resize))


TDPN_FAMILY = Family(
    title="Temporal Difference Pyramid Network",
    config=TDPNConfig,
    build=_over_slowonly,
    published=(
        Published(arch="r50", clip="32x2", data="Kinetics-400", top1=78.9, top5=93.8, source="the paper"),
        Published(arch="r101", clip="32x2", data="Kinetics-400", top1=79.6, top5=94.3, source="the paper"),
    ),
)
TSN_TDPN_FAMILY = Family(
    title="TDPN's differences and pyramid over TSN",
    config=TSNTDPNConfig,
    build=_over_tsn,
    published=(
        Published(arch="r50", clip="8 segments", data="EPIC-KITCHENS verb", top1=62.5, source="the paper"),
        Published(arch="r50", clip="8 segments", data="EPIC-KITCHENS noun", top1=43.2, source="the paper"),
    ),
)
TSM_TDPN_FAMILY = Family(title="TDPN's differences and pyramid over TSM", config=TSMTDPNConfig, build=_over_tsm)
