"""I3D as an inflated ResNet: every other block looks at three frames, and time is pooled on the way.

Wang et al., "Non-local Neural Networks", CVPR 2018; mmaction2's `i3d_r50` strides time at the first convolution, the
first pool and behind res2, PySlowFast's behind res2 only (`temporal_strides`).
"""

from __future__ import annotations

from tdpn_core.config import ModelConfig
from tdpn_core.model.resnet import ResNet

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
