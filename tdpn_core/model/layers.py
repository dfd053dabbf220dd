"""Common building blocks: convolution, convolution with normalisation, resizing, initialisation.

In this package: N clips, C channels, T frames, H rows, W columns.
"""

from __future__ import annotations

import abc
from collections import OrderedDict
from typing import TypeAlias, TypedDict, Unpack

from torch import Tensor, nn
from torch.nn import functional as F

from tdpn_core.config.families import Level

Kernel: TypeAlias = tuple[int, int, int]
POINT: Kernel = (1, 1, 1)
FRAME: Kernel = (1, 3, 3)
TIME: Kernel = (3, 1, 1)


class ConvOptions(TypedDict, total=False):
    """Keyword options of `Conv`."""

    stride: int
    temporal_stride: int
    groups: int
    padded: bool


class Conv(nn.Conv3d):
    """A convolution without bias over (N, C, T, H, W), padded so that stride 1 keeps the size.

    `stride` applies to space, `temporal_stride` to time. Odd sizes are halved rounding up, 7 to 4. If not `padded`, the
    caller pads rows and columns.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel: Kernel = POINT,
        *,
        stride: int = 1,
        temporal_stride: int = 1,
        groups: int = 1,
        padded: bool = True,
    ):
        strides = (temporal_stride, stride, stride)
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2) if padded else (kernel[0] // 2, 0, 0)
        super().__init__(channels, out_channels, kernel, strides, padding, groups=groups, bias=False)

    def reset_parameters(self) -> None:
        """He et al.'s normal initialisation for the ReLU that follows, by the fan-out."""
        if not self.weight.is_meta:  # torch takes long to draw nothing
            nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")


class ConvNorm(nn.Sequential):
    """`Conv`, batch normalisation and, by default, ReLU: the children `conv`, `bn` and `relu`."""

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel: Kernel = POINT,
        *,
        relu: bool = True,
        **options: Unpack[ConvOptions],
    ):
        conv = Conv(channels, out_channels, kernel, **options)
        parts: OrderedDict[str, nn.Module] = OrderedDict(conv=conv, bn=nn.BatchNorm3d(out_channels))
        if relu:
            parts["relu"] = nn.ReLU(inplace=True)
        super().__init__(parts)


def stacked(clip: Tensor, frames: int) -> Tensor:
    """Stack (N, C, T * frames, H, W) to (N, frames * C, T, H, W): `frames` as one, the first one's channels first."""
    N, C, T, H, W = clip.shape
    return clip.view(N, C, T // frames, frames, H, W).permute(0, 3, 1, 2, 4, 5).reshape(N, frames * C, -1, H, W)


def halve(x: Tensor) -> Tensor:
    """Average 2x2 positions of each frame; odd sizes are halved rounding up, the last mean being over fewer."""
    height, width = x.shape[3:]
    return F.avg_pool3d(x, (1, min(2, height), min(2, width)), ceil_mode=True)


def resize(x: Tensor, like: Tensor) -> Tensor:
    """Resize `x` to the size (T, H, W) of `like` by nearest neighbours; returns `x` itself if sizes are equal."""
    size = like.shape[2:]
    return x if x.shape[2:] == size else F.interpolate(x, size=size, mode="nearest")


def initialise(part: nn.Module) -> None:
    """Initialise necks and heads as TPN does: Xavier uniform convolutions, linear layers N(0, 0.01), zero biases."""
    for module in part.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)


class Backbone(nn.Module, abc.ABC):
    """Maps frames to feature maps at four levels."""

    channels: dict[Level, int]
    """Channels of res2..res5."""

    reduction: int = 16
    """Ratio of the channels of res2 and res3 to those in which their differences are computed."""

    @property
    def top_channels(self) -> int:
        """Channels of `top`."""
        return self.channels["res5"]

    def top(self, levels: dict[Level, Tensor]) -> Tensor:
        """Return the map that a classifier without a neck averages: res5, unless a layer follows it."""
        return levels["res5"]

    @abc.abstractmethod
    def forward(self, frames: Tensor) -> dict[Level, Tensor]:
        """Return the four levels for frames (N, C, T, H, W)."""

    @abc.abstractmethod
    def stages(self) -> dict[str, list[nn.Module]]:
        """Return the parts with weights of stem and res2..res5, in the order in which they run."""
