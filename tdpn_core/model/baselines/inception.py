"""I3D: the Inception network of images, inflated to clips; time is halved three times.

Carreira and Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset", CVPR 2017. The children
have the names of the release. It pads as TensorFlow does: at strides the far side gets more.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdpn_core.config.families import LEVELS, Family, Level, Published
from tdpn_core.config.family_settings import I3DConfig
from tdpn_core.config.model import ModelConfig
from tdpn_core.model.base import FeatureMaps, Network, classifier
from tdpn_core.model.baselines.resnets import i3d
from tdpn_core.model.layers import POINT, Backbone, Conv, ConvNorm, Kernel
from tdpn_core.model.resnet import scaled

CUBE: Kernel = (3, 3, 3)
STEM: Kernel = (7, 7, 7)
MIXED: dict[str, tuple[int, int, int, int, int, int]] = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
"""Channels of b0, b1a, b1b, b2a, b2b, b3b of each block."""

STAGES: dict[Level, tuple[tuple[Kernel, Kernel], tuple[str, ...]]] = {
    "res3": (((1, 3, 3), (1, 2, 2)), ("Mixed_3b", "Mixed_3c")),
    "res4": (((3, 3, 3), (2, 2, 2)), ("Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f")),
    "res5": (((2, 2, 2), (2, 2, 2)), ("Mixed_5b", "Mixed_5c")),
}
"""Kernel and stride of the pool before each stage, and the stage's blocks. Stages as in a ResNet."""


class Mixed(nn.Module):
    """Four parallel branches: 1x1x1; twice 1x1x1 and 3x3x3; a pool and 1x1x1."""

    def __init__(self, channels: int, counts: tuple[int, ...]):
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3b = counts
        self.b0 = ConvNorm(channels, b0)
        self.b1a = ConvNorm(channels, b1a)
        self.b1b = ConvNorm(b1a, b1b, CUBE)
        self.b2a = ConvNorm(channels, b2a)
        self.b2b = ConvNorm(b2a, b2b, CUBE)
        self.b3b = ConvNorm(channels, b3b)
        self.channels = b0 + b1b + b2b + b3b

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, T, H, W) to (N, self.channels, T, H, W)."""
        pooled = pool(x, CUBE, POINT)
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], 1)


class Inception(Backbone):
    """The backbone: (N, C, T, H, W) to maps at a quarter to a 32nd of the size, with T/2, T/2, T/4 and T/8 steps."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        first, last = scaled(64, config.width, 8), scaled(192, config.width, 8)
        self.Conv3d_1a_7x7 = ConvNorm(config.channels, first)
        self.Conv3d_1a_7x7.conv = Conv(config.channels, first, STEM, stride=2, temporal_stride=2)
        self.Conv3d_1a_7x7.conv.padding = (0, 0, 0)  # `forward` pads: an even size has one more on the far side
        self.Conv3d_2b_1x1 = ConvNorm(first, first)
        self.Conv3d_2c_3x3 = ConvNorm(first, last, CUBE)
        self.channels: dict[Level, int] = {"res2": last}
        channels = last
        for level, (_, names) in STAGES.items():
            for name in names:
                block = Mixed(channels, tuple(scaled(count, config.width, 8) for count in MIXED[name]))
                self.add_module(name, block)
                channels = self.channels[level] = block.channels
        for norm in self.modules():
            if isinstance(norm, nn.BatchNorm3d):
                norm.eps = 1e-3

    def forward(self, frames: Tensor) -> dict[Level, Tensor]:
        """Return the maps after Conv3d_2c, Mixed_3c, Mixed_4f and Mixed_5c."""
        x = pool(self.Conv3d_1a_7x7(pad(frames, STEM, (2, 2, 2))), (1, 3, 3), (1, 2, 2))
        x = self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x))
        levels: dict[Level, Tensor] = {"res2": x}
        for level in LEVELS[1:]:
            size, names = STAGES[level]
            x = pool(x, *size)
            for name in names:
                x = self.get_submodule(name)(x)
            levels[level] = x
        return levels

    def stages(self) -> dict[str, list[nn.Module]]:
        """Return the first convolution, the layers before res2, and the blocks of res3..res5."""
        found: dict[str, list[nn.Module]] = {
            "stem": [self.Conv3d_1a_7x7],
            "res2": [self.Conv3d_2b_1x1, self.Conv3d_2c_3x3],
        }
        return found | {level: [self.get_submodule(name) for name in names] for level, (_, names) in STAGES.items()}


class I3D(Network):
    """The network of a configuration: it classifies each pair of neighbouring steps and averages the logits."""

    def feature_maps(self, clip: Tensor) -> FeatureMaps:
        """Return the levels, and the means of neighbouring steps of the last one."""
        levels = self.backbone(self.frames(clip))
        top = levels["res5"]
        return FeatureMaps(levels, F.avg_pool3d(top, (min(2, top.shape[2]), 1, 1), stride=1))


def pool(x: Tensor, kernel: Kernel, stride: Kernel) -> Tensor:
    """Return the maximum of each window; padding counts as zero, the minimum of rectified values."""
    return F.max_pool3d(pad(x, kernel, stride), kernel, stride)


def pad(x: Tensor, kernel: Kernel, stride: Kernel) -> Tensor:
    """Pad (N, C, T, H, W) with zeros so that the number of windows per axis equals the number of strides."""
    lacking = [
        max(size - (step if length % step == 0 else length % step), 0)
        for size, step, length in zip(kernel, stride, x.shape[2:], strict=True)
    ]
    sides = [(short // 2, short - short // 2) for short in reversed(lacking)]
    return F.pad(x, tuple(itertools.chain.from_iterable(sides)))


def _i3d(config: I3DConfig) -> Network:
    if config.arch == "inception":
        return classifier(config, Inception(config), I3D)
    backbone = i3d(
        config.arch,
        width=config.width,
        in_channels=config.channels,
        temporal_strides=config.temporal_strides,
    )
    return classifier(config, backbone)


I3D_FAMILY = Family(
    title="Inflated 3D Inception (Carreira and Zisserman, 2017), or ResNet",
    config=I3DConfig,
    build=_i3d,
    published=(
        Published(
            arch="inception",
            clip="64x1",
            data="Kinetics-400 (test)",
            top1=71.1,
            top5=89.3,
            source="kinetics-i3d",
            note="RGB",
        ),
        Published(
            arch="inception",
            clip="64x1",
            data="Kinetics-400 (test)",
            top1=74.2,
            top5=91.3,
            source="kinetics-i3d",
            note="two streams",
        ),
        Published(arch="r50", clip="8x8", data="Kinetics-400", top1=73.27, top5=90.7, source="pytorchvideo"),
    ),
)
