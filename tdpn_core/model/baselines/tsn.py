"""TSN: a 2D ResNet on one frame of each segment of the video; the segments' features are averaged.

Wang et al., "Temporal Segment Networks: Towards Good Practices for Deep Action Recognition", ECCV 2016. The flow
network sees five flows at each segment as one image of ten channels (two-stream).
"""

from __future__ import annotations

from tdpn_core.config import LEVELS, ModelConfig
from tdpn_core.model.resnet import BlockKind, ResNet


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
