"""SlowOnly: the slow pathway of SlowFast alone, a ResNet that is 3D in res4 and res5 and never strides time.

Feichtenhofer et al., "SlowFast Networks for Video Recognition", ICCV 2019. TPN and TDPN stand on it.
"""

from __future__ import annotations

from tdpn_core.config import ModelConfig
from tdpn_core.model.resnet import ResNet, limited


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
