"""EfficientNet-Lite: a 2D backbone of about 0.4 GMAC per frame, for laptops and edge devices.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, in the form of
tensorflow/tpu's models/official/efficientnet/lite: ReLU6, and no squeeze-and-excitation. Published weights depend on
two details: batch normalisation with eps 1e-3, and TensorFlow's padding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from tdpn_core.config.families import LEVELS, Level
from tdpn_core.config.family_settings import LiteArch
from tdpn_core.model.layers import FRAME, POINT, Backbone, Conv

if TYPE_CHECKING:
    pass


SCALES: dict[LiteArch, tuple[float, float]] = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
"""Factors of channels and blocks; the input sizes of the ImageNet training are 224, 240 and 260."""

STEM, TOP = 32, 1280
"""Channels of the first and last convolution, to which the factors do not apply."""

EPS, MOMENTUM = 1e-3, 0.01


class Stage(NamedTuple):
    """Equal blocks, the first of which has the stride."""

    level: Level
    """Level that its last block belongs to."""

    kernel: int
    stride: int
    expansion: int
    channels: int
    blocks: int
    scaled: bool = True
    """Whether the factor of blocks applies."""


STAGES = (
    Stage("res2", 3, 1, 1, 16, 1, scaled=False),
    Stage("res2", 3, 2, 6, 24, 2),
    Stage("res3", 5, 2, 6, 40, 2),
    Stage("res4", 3, 2, 6, 80, 3),
    Stage("res4", 5, 1, 6, 112, 3),
    Stage("res5", 5, 2, 6, 192, 4),
    Stage("res5", 3, 1, 6, 320, 1, scaled=False),
)


def stages_of(arch: LiteArch, width: float = 1.0) -> tuple[Stage, ...]:
    """Return the stages of `arch`, with `width` times its channels."""
    channels, depth = SCALES[arch]
    last = len(STAGES) - 1
    return tuple(
        stage._replace(
            channels=rounded(rounded(stage.channels * channels, 8) * width, 32 if number == last else 8),
            blocks=math.ceil(stage.blocks * depth) if stage.scaled else stage.blocks,
        )
        for number, stage in enumerate(STAGES)
    )


def rounded(channels: float, multiple: int) -> int:
    """Return the nearest multiple of `multiple`, rounding half up, but at least 90 % of `channels`."""
    nearest = max(multiple, int(channels + multiple / 2) // multiple * multiple)
    return nearest + multiple if nearest < 0.9 * channels else nearest


class InvertedResidual(nn.Module):
    """t x1x1 to `expansion` times the channels, a depth-wise convolution with the stride, 1x1x1 without ReLU."""

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        kernel: int,
        stride: int,
        expansion: int,
        temporal_kernel: int = 1,
        shift: Callable[[Tensor], Tensor] | None = None,
    ):
        """`shift` moves channels over time before the branch of a block with a shortcut."""
        super().__init__()
        inner = channels * expansion
        self.conv1: nn.Module = nn.Identity()
        self.bn1: nn.Module = nn.Identity()
        if expansion != 1:
            self.conv1, self.bn1 = Conv(channels, inner, (temporal_kernel, 1, 1)), _norm(inner)
        self.conv2 = Conv(inner, inner, (1, kernel, kernel), stride=stride, groups=inner, padded=stride == 1)
        self.bn2 = _norm(inner)
        self.conv3 = Conv(inner, out_channels, POINT)
        self.bn3 = _norm(out_channels)
        self.relu = nn.ReLU6(inplace=True)
        self.expands = expansion != 1
        self.has_shortcut = stride == 1 and channels == out_channels
        self.shift = shift if self.has_shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, T, H, W) to (N, out_channels, T, H/stride, W/stride)."""
        out = self.shift(x) if self.shift else x
        if self.expands:
            out = self.relu(self.bn1(self.conv1(out)))
        out = self.relu(self.bn2(self.conv2(same_padded(out, self.conv2))))
        last: Tensor = self.bn3(self.conv3(out))
        return x + last if self.has_shortcut else last


class EfficientNetLite(Backbone):
    """Maps (N, C, T, H, W) to res2..res5, (N, C, T, H/4, W/4) .. (N, C, T, H/32, W/32), frame by frame."""

    reduction = 4  # levels are block outputs; blocks are six times as wide inside

    def __init__(
        self,
        arch: LiteArch = "lite0",
        *,
        width: float = 1.0,
        in_channels: int = 3,
        temporal_kernels: Sequence[int] = (1, 1, 1, 1),
        shift: Callable[[Tensor], Tensor] | None = None,
        classifies: bool = True,
    ):
        """Create it with random weights.

        Args:
            arch: The size.
            width: Factor of all channel counts except stem and top, rounded to multiples of 8.
            in_channels: Channels of the frames.
            temporal_kernels: Those of the expanding convolution of each block of res2..res5.
            shift: TSM's shift, for the branch of every block with a shortcut.
            classifies: Whether to include the last convolution to 1280 channels, needed only by a classifier on res5.
        """
        super().__init__()
        self.conv1 = Conv(in_channels, STEM, FRAME, stride=2, padded=False)
        self.bn1 = _norm(STEM)
        self.relu = nn.ReLU6(inplace=True)
        kernels = dict(zip(LEVELS, temporal_kernels, strict=True))
        parts: dict[Level, list[nn.Module]] = {level: [] for level in LEVELS}
        channels = STEM
        self.channels = {}
        for stage in stages_of(arch, width):
            for number in range(stage.blocks):
                block = InvertedResidual(
                    channels,
                    stage.channels,
                    kernel=stage.kernel,
                    stride=stage.stride if number == 0 else 1,
                    expansion=stage.expansion,
                    temporal_kernel=kernels[stage.level],
                    shift=shift,
                )
                parts[stage.level].append(block)
                channels = stage.channels
            self.channels[stage.level] = channels
        for index, level in enumerate(LEVELS, start=1):
            self.add_module(f"layer{index}", nn.Sequential(*parts[level]))
        self.classifies = classifies
        if classifies:
            self.conv_top = Conv(channels, TOP)
            self.bn_top = _norm(TOP)
        for module in self.modules():
            if isinstance(module, nn.Conv3d) and module.groups > 1:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")  # by the fan-in: of one channel

    @property
    def top_channels(self) -> int:
        """1280, or the channels of res5 without the last convolution."""
        return TOP if self.classifies else self.channels["res5"]

    def forward(self, frames: Tensor) -> dict[Level, Tensor]:
        """Return the four levels for frames (N, C, T, H, W)."""
        x: Tensor = self.relu(self.bn1(self.conv1(same_padded(frames, self.conv1))))
        levels: dict[Level, Tensor] = {}
        for index, level in enumerate(LEVELS, start=1):
            x = levels[level] = self.get_submodule(f"layer{index}")(x)
        return levels

    def top(self, levels: dict[Level, Tensor]) -> Tensor:
        """Return the map of 1280 channels to classify, (N, 1280, T, H/32, W/32)."""
        if not self.classifies:
            return super().top(levels)
        top: Tensor = self.relu(self.bn_top(self.conv_top(levels["res5"])))
        return top

    def stages(self) -> dict[str, list[nn.Module]]:
        """Return the parts with weights of stem and res2..res5, in the order in which they run."""
        found: dict[str, list[nn.Module]] = {"stem": [self.conv1, self.bn1]}
        found |= {level: [self.get_submodule(f"layer{n}")] for n, level in enumerate(LEVELS, start=1)}
        if self.classifies:
            found["res5"] += [self.conv_top, self.bn_top]
        return found


def same_padded(x: Tensor, conv: nn.Conv3d) -> Tensor:
    """Pad `x` as TensorFlow's "SAME" for a strided convolution over space: the odd pixel at the far side."""
    if conv.stride[1] == 1:
        return x  # symmetric padding, done by the convolution
    rows, columns = (_padding(side, conv.kernel_size[1], conv.stride[1]) for side in x.shape[3:])
    return F.pad(x, (*columns, *rows))


def _padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


def _norm(channels: int) -> nn.BatchNorm3d:
    return nn.BatchNorm3d(channels, eps=EPS, momentum=MOMENTUM)
