"""The backbone: a residual network inflated to clips that never strides time (SlowOnly; Feichtenhofer et al., 2019)."""

from __future__ import annotations

from torch import Tensor, nn

from tdpn_core.config import LEVELS, Arch, Level
from tdpn_core.model.attention import PositionResize
from tdpn_core.model.blocks import AttentionOn, BasicBlock, Bottleneck
from tdpn_core.model.operations import Conv

DEPTHS: dict[Arch, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    "r18": (BasicBlock, (2, 2, 2, 2)),
    "r34": (BasicBlock, (3, 4, 6, 3)),
    "r50": (Bottleneck, (3, 4, 6, 3)),
    "r101": (Bottleneck, (3, 4, 23, 3)),
}
"""The kind of block and the number of them in res2..res5."""


def scaled(channels: int, width: float) -> int:
    """`channels` times `width`, as the nearest multiple of 32 (at least 32)."""
    return max(32, 32 * round(channels * width / 32))


def level_channels(arch: Arch, width: float = 1.0) -> dict[Level, int]:
    """Channels of res2..res5."""
    lowest = 256 if DEPTHS[arch][0] is Bottleneck else 64
    return {level: scaled(lowest << index, width) for index, level in enumerate(LEVELS)}


def level_side(input_side: int, level: Level) -> int:
    """Rows (or columns) of a level's map: the input's, divided by 4 at res2 up to 32 at res5, rounded up."""
    return -(-input_side // (4 << LEVELS.index(level)))


class ResNet(nn.Module):
    """Inflated ResNet: (N, 3, T, H, W) to the maps res2..res5 of (N, C, T, H/4, W/4) .. (N, C, T, H/32, W/32).

    The children have torchvision's names (`conv1`, `bn1`, `layer1.0.conv1`, ...).
    """

    def __init__(
        self,
        arch: Arch = "r50",
        *,
        width: float = 1.0,
        temporal_kernels: tuple[int, int, int, int] = (1, 1, 3, 3),
        attention: bool = False,
        position_resize: PositionResize = "clamp",
        input_size: int = 224,
    ):
        """`temporal_kernels` are those of each block's first convolution, res2..res5; `attention` is res5's."""
        super().__init__()
        self.channels = level_channels(arch, width)
        channels = scaled(64, width)
        self.conv1 = Conv(3, channels, (1, 7, 7), stride=2)
        self.bn1 = nn.BatchNorm3d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))

        block, counts = DEPTHS[arch]
        for index, level in enumerate(LEVELS):
            stage = nn.Sequential()
            for number in range(counts[index]):
                first = number == 0
                entering = LEVELS[index - 1] if first and index else level
                spot = AttentionOn(level_side(input_size, entering), position_resize)
                stage.append(
                    block(
                        channels,
                        scaled(64 << index, width),
                        self.channels[level],
                        temporal_kernel=temporal_kernels[index],
                        stride=2 if first and index else 1,
                        attention=spot if attention and level == "res5" else None,
                    )
                )
                channels = self.channels[level]
            self.add_module(f"layer{index + 1}", stage)

    def forward(self, frames: Tensor) -> dict[Level, Tensor]:
        """The four levels of frames (N, 3, T, H, W)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(frames))))
        levels: dict[Level, Tensor] = {}
        for index, level in enumerate(LEVELS):
            x = levels[level] = self.get_submodule(f"layer{index + 1}")(x)
        return levels
