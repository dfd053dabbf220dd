"""R(2+1)D: every 3x3x3 convolution is split into one over space and one over time, with a ReLU between.

Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018. Depths 18 and 34 are the
paper's (over space first, channels between them so that parameters equal a 3x3x3's); depths 50 and 101 are
pytorchvideo's (over time first, in place of each bottleneck's 3x3). mmaction2's depth 34 is another form.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from tdpn_core.config.families import Family, Published
from tdpn_core.config.family_settings import R2Plus1DConfig
from tdpn_core.model.base import Network, classifier
from tdpn_core.model.blocks import Block, Bottleneck, shortcut
from tdpn_core.model.layers import FRAME, POINT, TIME, Conv, Kernel
from tdpn_core.model.resnet import DEPTHS, ResNet, scaled


class SpaceTime(nn.Module):
    """A convolution over space, batch normalisation, ReLU, and one over time."""

    def __init__(
        self,
        channels: int,
        between: int,
        out_channels: int,
        kernel: Kernel = FRAME,
        *,
        stride: int = 1,
        temporal_stride: int = 1,
        over_time: Kernel = TIME,
    ):
        super().__init__()
        self.space = Conv(channels, between, kernel, stride=stride)
        self.bn = nn.BatchNorm3d(between)
        self.relu = nn.ReLU(inplace=True)
        self.time = Conv(between, out_channels, over_time, temporal_stride=temporal_stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, T, H, W) to (N, out_channels, T/temporal_stride, H/stride, W/stride)."""
        out: Tensor = self.time(self.relu(self.bn(self.space(x))))
        return out


class TimeSpace(nn.Module):
    """A convolution over time, batch normalisation, ReLU, and one over space."""

    def __init__(self, channels: int, *, stride: int, temporal_stride: int):
        super().__init__()
        self.time = Conv(channels, channels, TIME, temporal_stride=temporal_stride)
        self.bn = nn.BatchNorm3d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.space = Conv(channels, channels, FRAME, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to (N, C, T/temporal_stride, H/stride, W/stride)."""
        out: Tensor = self.space(self.relu(self.bn(self.time(x))))
        return out


class FactoredBottleneck(Bottleneck):
    """A bottleneck whose 3x3 is a `TimeSpace`."""

    def __init__(
        self, channels: int, width: int, out_channels: int, *, stride: int, strides_time: bool, **unused: object
    ):
        """With `strides_time`, the stride also applies to time."""
        super().__init__(channels, width, out_channels, stride=stride)
        temporal_stride = stride if strides_time else 1
        self.conv2 = TimeSpace(width, stride=stride, temporal_stride=temporal_stride)
        self.downsample = shortcut(channels, out_channels, stride, temporal_stride)


def within(channels: int, out_channels: int, side: int = 3) -> int:
    """Return the channels between the two convolutions in place of one of 3 x side x side, at most as many weights."""
    area = side * side
    return 3 * area * channels * out_channels // (area * channels + 3 * out_channels)


class FactoredBasicBlock(Block):
    """Two `SpaceTime`s; the shortcut can be a third one, with kernels of 1."""

    def __init__(
        self,
        channels: int,
        width: int,
        out_channels: int,
        *,
        stride: int,
        strides_time: bool,
        each_within: bool = False,
        **unused: object,
    ):
        """With `strides_time` the stride is that of time, too.

        With `each_within` the second pair has its own number of channels within, not the first one's, and the shortcut
        is a pair.
        """
        super().__init__()
        between = within(channels, width)
        temporal_stride = stride if strides_time else 1
        self.conv1 = SpaceTime(channels, between, width, stride=stride, temporal_stride=temporal_stride)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = SpaceTime(width, within(width, out_channels) if each_within else between, out_channels)
        self.bn2 = nn.BatchNorm3d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(channels, out_channels, stride, temporal_stride)
        if each_within and not isinstance(self.downsample, nn.Identity):
            self.downsample[0] = SpaceTime(  # type: ignore[operator]
                channels,
                within(channels, out_channels, 1),
                out_channels,
                POINT,
                stride=stride,
                temporal_stride=temporal_stride,
                over_time=POINT,
            )

    def branch(self, x: Tensor) -> Tensor:
        """Map (N, channels, T, H, W) to (N, out_channels, T', H/stride, W/stride)."""
        out: Tensor = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return out


class R2Plus1D(ResNet):
    """The backbone. Depths 18 and 34 halve time before res3..res5, the paper's have maps of 1/2 to 1/16 of the size."""

    def __init__(self, config: R2Plus1DConfig):
        deep = DEPTHS[config.arch][0] is Bottleneck
        pooled = config.form == "mmaction2"
        kind = FactoredBottleneck if deep else partial(FactoredBasicBlock, each_within=pooled)
        still, halving = partial(kind, strides_time=False), partial(kind, strides_time=True)
        super().__init__(
            config.arch,
            width=config.width,
            in_channels=config.channels,
            temporal_kernels=(1, 1, 1, 1),
            block={"res2": still, "res3": still if deep else halving, "res4": halving, "res5": halving},
            strides=(2, 2, 2, 2) if deep else (1, 2, 2, 2),
        )
        if not pooled:
            self.maxpool = nn.Identity()
        if not deep:
            between = within(config.channels, self.stem_channels, 7) if pooled else scaled(45, config.width, 1)
            self.conv1 = SpaceTime(config.channels, between, self.stem_channels, (1, 7, 7), stride=2)
        if pooled:
            pairs = {id(part.bn) for part in self.modules() if isinstance(part, SpaceTime)}
            for part in self.modules():
                if isinstance(part, nn.BatchNorm3d) and id(part) not in pairs:
                    part.eps = 1e-3


def _r2plus1d(config: R2Plus1DConfig) -> Network:
    return classifier(config, R2Plus1D(config))


R2PLUS1D_FAMILY = Family(
    title="R(2+1)D (Tran et al., 2018)",
    config=R2Plus1DConfig,
    build=_r2plus1d,
    image_depths=("r50", "r101"),  # the others split every 3x3
    published=(
        Published(arch="r50", clip="16x4", data="Kinetics-400", top1=76.01, top5=92.23, source="pytorchvideo"),
        Published(
            arch="r18",
            clip="16 frames",
            data="Kinetics-400",
            top1=57.5,
            top5=78.81,
            source="torchvision",
            note="single clips",
        ),
        Published(arch="r34", clip="8x8", data="Kinetics-400", top1=69.76, source="mmaction2"),
        Published(arch="r34", clip="32x2", data="Kinetics-400", top1=75.46, source="mmaction2"),
    ),
)
