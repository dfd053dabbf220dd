"""TSN: a 2D ResNet on one frame of each segment of the video; the segments' features are averaged.

Wang et al., "Temporal Segment Networks: Towards Good Practices for Deep Action Recognition", ECCV 2016. The flow
network sees five flows at each segment as one image of ten channels (two-stream).
"""

from __future__ import annotations

from tdpn_core.config.schema import LEVELS, ModelConfig
from tdpn_core.model.resnet import BlockKind, ResNet, limited


def tsn(config: ModelConfig, block: BlockKind | None = None) -> ResNet:
    """The backbone, of the depth's own blocks unless others are given."""
    return ResNet(
        config.arch,
        width=config.width,
        in_channels=config.channels * config.stack,
        temporal_kernels=(1, 1, 1, 1),
        attention=config.attention,
        position_resize=config.position_resize,
        input_size=config.input_size,
        block=dict.fromkeys(LEVELS, block) if block else None,
    )


def c2d(config: ModelConfig) -> ResNet:
    """The backbone."""
    return ResNet(
        config.arch,
        width=config.width,
        in_channels=config.channels,
        temporal_kernels=(1, 1, 1, 1),
        temporal_strides=config.temporal_strides,
    )


KERNELS = ((3,), (3, 1), (3, 1), (1, 3))
"""Temporal kernels of the blocks' first convolutions, in turns, res2..res5."""


def i3d(config: ModelConfig) -> ResNet:
    """The backbone."""
    return ResNet(
        config.arch,
        width=config.width,
        in_channels=config.channels,
        stem_kernel=5,
        temporal_kernels=KERNELS,
        temporal_strides=config.temporal_strides,
    )


def slowonly(config: ModelConfig) -> ResNet:
    """The backbone, with attention in res5 where the configuration asks for it (TDPN)."""
    return ResNet(
        config.arch,
        width=config.width,
        in_channels=config.channels,
        temporal_kernels=limited(config.temporal_kernels, config.temporal_blocks, config.arch),
        attention=config.attention,
        position_resize=config.position_resize,
        input_size=config.input_size,
    )
