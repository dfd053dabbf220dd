"""C2D: a 2D ResNet on every frame, with a pool over pairs of frames behind res2.

The baseline of Wang et al., "Non-local Neural Networks", CVPR 2018, as PySlowFast builds it.
"""

from __future__ import annotations

from tdpn_core.config import ModelConfig
from tdpn_core.model.resnet import ResNet


def c2d(config: ModelConfig) -> ResNet:
    """The backbone."""
    return ResNet(
        config.arch,
        width=config.width,
        in_channels=config.channels,
        temporal_kernels=(1, 1, 1, 1),
        temporal_strides=config.temporal_strides,
    )
