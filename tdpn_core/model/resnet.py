"""The backbone: a ResNet inflated to clips, by default without temporal stride.

SlowOnly is such a network (Feichtenhofer et al., "SlowFast Networks for Video Recognition", ICCV 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from tdpn_core.config.families import LEVELS, Level
from tdpn_core.config.family_settings import Arch, PositionResize
from tdpn_core.model.blocks import AttentionOn, BasicBlock, Block, Bottleneck
from tdpn_core.model.layers import Backbone, Conv

BlockKind = Callable[..., Block]
"""Creates a block like `Bottleneck` and `BasicBlock`, from (channels, width, out_channels) and their settings."""

DEPTHS: dict[Arch, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    "r18": (BasicBlock, (2, 2, 2, 2)),
    "r34": (BasicBlock, (3, 4, 6, 3)),
    "r50": (Bottleneck, (3, 4, 6, 3)),
    "r101": (Bottleneck, (3, 4, 23, 3)),
}
"""Kind and number of blocks in res2..res5."""


def scaled(channels: int, width: float, multiple: int = 32) -> int:
    """Return `channels` times `width`, rounded to a multiple of `multiple` (at least that)."""
    return max(multiple, multiple * round(channels * width / multiple))


def level_channels(arch: Arch, width: float = 1.0, multiple: int = 32) -> dict[Level, int]:
    """Return the channels of res2..res5."""
    lowest = 256 if DEPTHS[arch][0] is Bottleneck else 64
    return {level: scaled(lowest << index, width, multiple) for index, level in enumerate(LEVELS)}


def level_side(input_side: int, level: Level) -> int:
    """Return the rows (or columns) of a level's map: the input's, divided by 4 at res2 to 32 at res5, rounded up."""
    return -(-input_side // (4 << LEVELS.index(level)))


def limited(
    kernels: tuple[int, int, int, int], blocks: tuple[int, int, int, int] | None, arch: Arch
) -> tuple[int | tuple[int, ...], ...]:
    """Return temporal kernels for `ResNet` in only the first `blocks` blocks of each stage; None for all blocks."""
    if blocks is None:
        return kernels
    counts = zip(kernels, blocks, DEPTHS[arch][1], strict=True)
    return tuple((kernel,) * min(having, count) + (1,) * (count - having) for kernel, having, count in counts)


class ResNet(Backbone):
    """Inflated ResNet: maps (N, C, T, H, W) to res2..res5, (N, C, T, H/4, W/4) .. (N, C, T, H/32, W/32).

    The children have torchvision's names (`conv1`, `bn1`, `layer1.0.conv1`, ...).
    """

    def __init__(
        self,
        arch: Arch = "r50",
        *,
        width: float = 1.0,
        in_channels: int = 3,
        stem_kernel: int = 1,
        temporal_kernels: Sequence[int | Sequence[int]] = (1, 1, 3, 3),
        temporal_strides: tuple[int, int, int] = (1, 1, 1),
        attention: bool = False,
        position_resize: PositionResize = "clamp",
        input_size: int = 224,
        block: Mapping[Level, BlockKind] | None = None,
        strides: tuple[int, int, int, int] = (1, 2, 2, 2),
        multiple: int = 32,
        joining: tuple[int, int, int, int] = (0, 0, 0, 0),
    ):
        """Create the network; the defaults are SlowOnly's.

        Args:
            arch: The depth.
            width: Factor of all channel counts, rounded to multiples of `multiple`.
            in_channels: Channels of the frames.
            stem_kernel: Temporal kernel of the first convolution.
            temporal_kernels: Of the blocks' first convolutions in res2..res5: one per stage, or a cycle.
            temporal_strides: Of the first convolution, of the pool after it, and of a pool after res2.
            attention: Whether attention replaces the 3x3 convolutions of res5.
            position_resize: See `Attention`.
            input_size: Input size in pixels for attention's tables.
            block: Block types by level; default: those of the depth.
            strides: Spatial stride of the first block of res2..res5.
            multiple: See `width`.
            joining: Channels added to the input of res2..res5 from outside.
        """
        super().__init__()
        own_block, counts = DEPTHS[arch]
        self.channels = level_channels(arch, width, multiple)
        channels = self.stem_channels = scaled(64, width, multiple)
        self.conv1: nn.Module = Conv(
            in_channels, channels, (stem_kernel, 7, 7), stride=2, temporal_stride=temporal_strides[0]
        )
        self.bn1 = nn.BatchNorm3d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool: nn.Module = nn.MaxPool3d((1, 3, 3), (temporal_strides[1], 2, 2), (0, 1, 1))
        self.pool2 = nn.MaxPool3d((temporal_strides[2], 1, 1)) if temporal_strides[2] > 1 else nn.Identity()

        for index, level in enumerate(LEVELS):
            kernels = temporal_kernels[index]
            cycle = (kernels,) if isinstance(kernels, int) else kernels
            stage = nn.Sequential()
            for number in range(counts[index]):
                first = number == 0
                entering = LEVELS[index - 1] if first and index else level
                spot = AttentionOn(level_side(input_size, entering), position_resize)
                stage.append(
                    (block or {}).get(level, own_block)(
                        channels + joining[index] if first else channels,
                        scaled(64 << index, width, multiple),
                        self.channels[level],
                        temporal_kernel=cycle[number % len(cycle)],
                        stride=strides[index] if first else 1,
                        attention=spot if attention and level == "res5" else None,
                    )
                )
                channels = self.channels[level]
            self.add_module(f"layer{index + 1}", stage)

    def forward(self, frames: Tensor) -> dict[Level, Tensor]:
        """Return the four levels for frames (N, C, T, H, W)."""
        x = self.stem(frames)
        levels: dict[Level, Tensor] = {}
        for level in LEVELS:
            x = levels[level] = self.stage(level, x)
        return levels

    def stages(self) -> dict[str, list[nn.Module]]:
        """Return the parts with weights of stem and res2..res5, in the order in which they run."""
        found: dict[str, list[nn.Module]] = {"stem": [self.conv1, self.bn1]}
        return found | {level: [self.get_submodule(f"layer{n}")] for n, level in enumerate(LEVELS, start=1)}

    def stem(self, frames: Tensor) -> Tensor:
        """Return the input of res2 for frames (N, C, T, H, W)."""
        x: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(frames))))
        return x

    def stage(self, level: Level, x: Tensor) -> Tensor:
        """Return a level for its input."""
        out: Tensor = self.get_submodule(f"layer{LEVELS.index(level) + 1}")(self.pool2(x) if level == "res3" else x)
        return out
