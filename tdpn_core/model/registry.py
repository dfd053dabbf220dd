"""From a name and options, or from a whole configuration, to a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tdpn_core.config.schema import LEVELS, ModelConfig, from_dict
from tdpn_core.model.base import Network
from tdpn_core.model.baselines.inception import I3D, Inception
from tdpn_core.model.baselines.r2plus1d import R2Plus1D
from tdpn_core.model.baselines.resnets import c2d, i3d, slowonly, tsn
from tdpn_core.model.baselines.slowfast import SlowFast
from tdpn_core.model.baselines.tdn import TDN, TDNBackbone
from tdpn_core.model.baselines.tsm import tsm
from tdpn_core.model.heads import AuxiliaryHead, Head
from tdpn_core.model.layers import Backbone
from tdpn_core.model.pyramid import Pyramid
from tdpn_core.model.resnet import ResNet, scaled
from tdpn_core.model.tdpn import TDPN
from tdpn_core.model.temporal_difference import TemporalDifference


def create_model(
    name: str,
    *,
    arch: str | None = None,
    num_classes: int | Mapping[str, int] = 400,
    num_frames: int | None = None,
    **options: Any,
) -> Network:
    """A network with fresh weights, in training mode.

    `name` is one of `tdpn models`: tdpn, tpn, tsm+tdpn, slowfast, ...; `arch` its depth, r18 to r101 (None: the
    family's own); a bare number of classes is that of one head named `action`; `options` are `ModelConfig`'s other
    fields.

    Raises:
        ConfigError: an unknown name, option or value; the message names it.
    """
    heads = {"action": num_classes} if isinstance(num_classes, int) else dict(num_classes)
    given = {"arch": arch, "num_frames": num_frames}
    chosen = {field: value for field, value in given.items() if value is not None}
    return build_model(from_dict(ModelConfig, {"name": name, "num_classes": heads, **chosen, **options}))


def build_model(config: ModelConfig) -> Network:
    """The network that `config` describes, with fresh weights, in training mode.

    Raises:
        ConfigError: numbers that do not divide one another.
    """
    match config.name:
        case "tdpn" | "tpn":
            return over(slowonly(config), config)
        case "tsn+tdpn" | "tsn+tpn":
            return over(tsn(config), config)
        case "tsm+tdpn" | "tsm+tpn":
            return over(tsm(config), config)
        case "slowonly":
            return plain(slowonly(config), config)
        case "tsn":
            return plain(tsn(config), config)
        case "tsm":
            return plain(tsm(config), config)
        case "c2d":
            return plain(c2d(config), config)
        case "i3d" if config.arch == "inception":
            return plain(Inception(config), config, I3D)
        case "i3d":
            return plain(i3d(config), config)
        case "slowfast":
            return plain(SlowFast(config), config)
        case "tdn":
            return plain(TDNBackbone(config), config, TDN)
        case "r2plus1d":
            return plain(R2Plus1D(config), config)


def plain(backbone: Backbone, config: ModelConfig, network: type[Network] = Network) -> Network:
    """A classifier on res5."""
    return network(config, backbone=backbone, head=Head(backbone.channels["res5"], config.num_classes, config.dropout))


def over(backbone: ResNet, config: ModelConfig) -> TDPN:
    """Temporal differences (none, if it is TPN) and the pyramid over a backbone."""
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
            in_channels=config.channels,
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
