"""Families that are a ResNet and a classifier: TSN, C2D, SlowOnly, and the backbone of the residual I3D.

TSN: Wang et al., "Temporal Segment Networks: Towards Good Practices for Deep Action Recognition", ECCV 2016; a 2D
ResNet on one frame per segment of the video, whose features are averaged. The flow network takes five flow fields per
segment as one image of ten channels (two-stream).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from tdpn_core.config.families import LEVELS, Family, Published
from tdpn_core.config.family_settings import (
    Arch,
    C2DConfig,
    PositionResize,
    SlowConfig,
    SlowOnlyConfig,
    TSNConfig,
    TwoStreamConfig,
    is_lite,
)
from tdpn_core.model.base import Network, classifier
from tdpn_core.model.efficientnet_lite import EfficientNetLite
from tdpn_core.model.layers import Backbone
from tdpn_core.model.resnet import BlockKind, ResNet, limited


def tsn(
    config: TwoStreamConfig,
    *,
    attention: bool = False,
    position_resize: PositionResize = "clamp",
    block: BlockKind | None = None,
    shift: Callable[[Tensor], Tensor] | None = None,
    classifies: bool = False,
) -> Backbone:
    """Return the backbone, with the blocks of its depth unless others are given.

    A lite backbone has no other blocks, but supports `shift`, and has its last convolution if it `classifies`.
    """
    if is_lite(config.arch):
        channels = config.channels * config.stack
        return EfficientNetLite(
            config.arch, width=config.width, in_channels=channels, shift=shift, classifies=classifies
        )
    return ResNet(
        config.arch,
        width=config.width,
        in_channels=config.channels * config.stack,
        temporal_kernels=(1, 1, 1, 1),
        attention=attention,
        position_resize=position_resize,
        input_size=config.input_size,
        block=dict.fromkeys(LEVELS, block) if block else None,
    )


def c2d(config: C2DConfig) -> ResNet:
    """The backbone."""
    backbone = ResNet(
        config.arch,
        width=config.width,
        in_channels=config.channels,
        temporal_kernels=(1, 1, 1, 1),
        temporal_strides=config.temporal_strides,
    )
    if not config.padded_pool:
        backbone.maxpool = nn.MaxPool3d((1, 3, 3), (config.temporal_strides[1], 2, 2))
    return backbone


KERNELS = ((3,), (3, 1), (3, 1), (1, 3))
"""Temporal kernels of the first convolutions of the residual I3D's blocks, in turn, res2..res5."""


def i3d(arch: Arch, *, width: float, in_channels: int, temporal_strides: tuple[int, int, int]) -> ResNet:
    """Return the residual I3D's backbone."""
    return ResNet(
        arch,
        width=width,
        in_channels=in_channels,
        stem_kernel=5,
        temporal_kernels=KERNELS,
        temporal_strides=temporal_strides,
    )


def slowonly(
    config: SlowConfig,
    *,
    temporal_blocks: tuple[int, int, int, int] | None = None,
    attention: bool = False,
    position_resize: PositionResize = "clamp",
) -> Backbone:
    """Return the backbone, optionally with attention in res5 (TDPN)."""
    if is_lite(config.arch):
        return EfficientNetLite(
            config.arch,
            width=config.width,
            in_channels=config.channels,
            temporal_kernels=config.kernels,
            classifies=False,
        )
    return ResNet(
        config.arch,
        width=config.width,
        in_channels=config.channels,
        temporal_kernels=limited(config.kernels, temporal_blocks, config.arch),
        attention=attention,
        position_resize=position_resize,
        input_size=config.input_size,
    )


def _tsn(config: TSNConfig) -> Network:
    return classifier(config, tsn(config, classifies=True))


def _c2d(config: C2DConfig) -> Network:
    return classifier(config, c2d(config))


def _slowonly(config: SlowOnlyConfig) -> Network:
    backbone = slowonly(
        config,
        temporal_blocks=config.temporal_blocks,
        attention=config.attends,
        position_resize=config.position_resize,
    )
    return classifier(config, backbone)


TSN_FAMILY = Family(
    title="Temporal Segment Networks (Wang et al., 2016)",
    config=TSNConfig,
    build=_tsn,
    sampling="segments",
    published=(
        Published(arch="r50", clip="8 segments", data="Kinetics-400", top1=74.12, top5=91.34, source="mmaction2"),
        Published(arch="r101", clip="8 segments", data="Kinetics-400", top1=75.89, top5=92.07, source="mmaction2"),
    ),
)
C2D_FAMILY = Family(
    title="2D ResNet on every frame (Wang et al., 2018)",
    config=C2DConfig,
    build=_c2d,
    published=(
        Published(arch="r50", clip="8x8", data="Kinetics-400", top1=71.46, top5=89.68, source="pytorchvideo"),
        Published(arch="r50", clip="8x8", data="Kinetics-400", top1=73.89, source="mmaction2"),
        Published(arch="r50", clip="16x4", data="Kinetics-400", top1=74.97, source="mmaction2"),
        Published(arch="r101", clip="8x8", data="Kinetics-400", top1=74.97, source="mmaction2", note="no pool"),
    ),
)
SLOWONLY_FAMILY = Family(
    title="SlowFast's slow pathway alone (Feichtenhofer et al., 2019)",
    config=SlowOnlyConfig,
    build=_slowonly,
    published=(
        Published(
            arch="r50", clip="8x8", data="Kinetics-400", top1=75.96, top5=92.4, source="mmaction2", note="from ImageNet"
        ),
        Published(arch="r50", clip="8x8", data="Kinetics-400", top1=74.58, top5=91.63, source="pytorchvideo"),
        Published(arch="r50", clip="32x2", data="Kinetics-400", top1=77.89, source="gluon-cv"),
        Published(arch="r101", clip="32x2", data="Kinetics-400", top1=78.57, source="gluon-cv"),
    ),
)
