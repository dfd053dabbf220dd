"""The two residual blocks (He et al., 2016), inflated, optionally with attention replacing a 1x3x3 convolution.

Their children have torchvision's names, so that published weights match by name.
"""

from __future__ import annotations

import abc
import dataclasses

from torch import Tensor, nn

from tdpn_core.config.family_settings import PositionResize
from tdpn_core.model.attention import Attention
from tdpn_core.model.layers import FRAME, POINT, Conv


@dataclasses.dataclass(frozen=True)
class AttentionOn:
    """Attention of a block: the training size of the block's input map, and `position_resize`."""

    side: int
    position_resize: PositionResize

    def build(self, channels: int, *, stride: int = 1, stride_before: int = 1) -> Attention:
        """Build the attention of a block, after `stride_before` was applied within the block."""
        side = -(-self.side // stride_before)
        return Attention(channels, (side, side), stride=stride, position_resize=self.position_resize)


class Block(nn.Module, abc.ABC):
    """ReLU of the sum of a residual branch and a shortcut."""

    relu: nn.Module
    downsample: nn.Module

    @abc.abstractmethod
    def branch(self, x: Tensor) -> Tensor:
        """Map (N, channels, T, H, W) to (N, out_channels, T, H/stride, W/stride)."""

    def between(self, x: Tensor) -> Tensor:
        """Hook after the first convolution of the branch: the identity, unless a baseline overrides it."""
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, T, H, W) to (N, out_channels, T, H/stride, W/stride)."""
        joined: Tensor = self.relu(self.branch(x) + self.downsample(x))
        return joined


class Bottleneck(Block):
    """t x1x1 to `width`, 1x3x3 (or attention) with the stride, 1x1x1 to `out_channels`, and the shortcut."""

    def __init__(
        self,
        channels: int,
        width: int,
        out_channels: int,
        *,
        temporal_kernel: int = 1,
        stride: int = 1,
        attention: AttentionOn | None = None,
    ):
        super().__init__()
        self.conv1 = Conv(channels, width, (temporal_kernel, 1, 1))
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2: nn.Module = (
            attention.build(width, stride=stride) if attention else Conv(width, width, FRAME, stride=stride)
        )
        self.bn2 = nn.BatchNorm3d(width)
        self.conv3 = Conv(width, out_channels)
        self.bn3 = nn.BatchNorm3d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(channels, out_channels, stride)
        if attention:
            nn.init.zeros_(self.bn3.weight)

    def branch(self, x: Tensor) -> Tensor:
        """Map (N, channels, T, H, W) to (N, out_channels, T, H/stride, W/stride)."""
        out = self.between(self.relu(self.bn1(self.conv1(x))))
        out = self.relu(self.bn2(self.conv2(out)))
        last: Tensor = self.bn3(self.conv3(out))
        return last


class BasicBlock(Block):
    """t x3x3 with the stride, 1x3x3 (or attention), and the shortcut; `width` equals `out_channels`."""

    def __init__(
        self,
        channels: int,
        width: int,
        out_channels: int,
        *,
        temporal_kernel: int = 1,
        stride: int = 1,
        attention: AttentionOn | None = None,
    ):
        super().__init__()
        self.conv1 = Conv(channels, width, (temporal_kernel, 3, 3), stride=stride)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = attention.build(width, stride_before=stride) if attention else Conv(width, out_channels, FRAME)
        self.bn2 = nn.BatchNorm3d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(channels, out_channels, stride)
        if attention:
            nn.init.zeros_(self.bn2.weight)

    def branch(self, x: Tensor) -> Tensor:
        """Map (N, channels, T, H, W) to (N, out_channels, T, H/stride, W/stride)."""
        out = self.between(self.relu(self.bn1(self.conv1(x))))
        last: Tensor = self.bn2(self.conv2(out))
        return last


def shortcut(channels: int, out_channels: int, stride: int, temporal_stride: int = 1) -> nn.Module:
    """Return the identity if shapes allow it, else a strided 1x1x1 convolution with batch normalisation."""
    if stride == 1 and channels == out_channels:
        return nn.Identity()
    conv = Conv(channels, out_channels, POINT, stride=stride, temporal_stride=temporal_stride)
    return nn.Sequential(conv, nn.BatchNorm3d(out_channels))
