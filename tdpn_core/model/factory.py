"""From a name and options, or from a whole configuration, to a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tdpn_core.config import LEVELS, ModelConfig, from_dict
from tdpn_core.model.difference import TemporalDifference
from tdpn_core.model.heads import AuxiliaryHead, Head
from tdpn_core.model.pyramid import Pyramid
from tdpn_core.model.resnet import ResNet, scaled
from tdpn_core.model.tdpn import TDPN


def create_model(
    name: str, *, arch: str = "r50", num_classes: int | Mapping[str, int] = 400, num_frames: int = 8, **options: Any
) -> TDPN:
    """A network with fresh weights, in training mode.

    `name` is "tdpn"; `arch` is r18, r34, r50 or r101; a bare number of classes is that of one head named `action`;
    `options` are `ModelConfig`'s other fields.

    Raises:
        ConfigError: an unknown name, option or value; the message names it.
    """
    heads = {"action": num_classes} if isinstance(num_classes, int) else dict(num_classes)
    chosen = {"name": name, "arch": arch, "num_classes": heads, "num_frames": num_frames, **options}
    return build_model(from_dict(ModelConfig, chosen))


def build_model(config: ModelConfig) -> TDPN:
    """The network that `config` describes, with fresh weights, in training mode.

    Raises:
        ConfigError: numbers that do not divide one another.
    """
    backbone = ResNet(
        config.arch,
        width=config.width,
        temporal_kernels=config.temporal_kernels,
        attention=config.attention,
        position_resize=config.position_resize,
        input_size=config.input_size,
    )
    channels = backbone.channels
    top = channels["res5"]
    return TDPN(
        config,
        backbone=backbone,
        temporal_difference=TemporalDifference(
            dict(zip(LEVELS, config.temporal, strict=True)),
            channels,
            width=config.width,
            window=config.window,
            local_fusion=config.local_fusion,
        ),
        pyramid=Pyramid(
            channels,
            levels=config.levels,
            num_frames=config.num_frames,
            width=scaled(top // 2, 1),
            flow=config.flow,
            separable=config.spatial_modulation == "separable",
            temporal_rates=config.temporal_rates,
        ),
        head=Head(top, config.num_classes, config.dropout),
        auxiliary_head=AuxiliaryHead(channels["res4"], top, config.num_classes, config.dropout)
        if config.auxiliary_head
        else None,
    )
