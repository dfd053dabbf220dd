"""TSM: TSN in which every block first shifts some of its channels by one frame, forwards and backwards.

Lin et al., "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tdpn_core.config.families import Family, Published
from tdpn_core.config.family_settings import PositionResize, ShiftConfig, TSMConfig, is_lite
from tdpn_core.model.base import Network, classifier
from tdpn_core.model.baselines.resnets import tsn
from tdpn_core.model.blocks import BasicBlock, Block, Bottleneck
from tdpn_core.model.layers import Backbone
from tdpn_core.model.resnet import DEPTHS

FOLD = 8
"""One of this many parts of the channels is shifted in each direction."""


def shift(x: Tensor) -> Tensor:
    """Shift (N, C, T, H, W): the first C/8 channels from the next frame, the second from the previous; zeros beyond."""
    fold = x.shape[1] // FOLD
    ahead, back, still = x.split([fold, fold, x.shape[1] - 2 * fold], 1)
    end = torch.zeros_like(ahead[:, :, :1])
    return torch.cat([torch.cat([ahead[:, :, 1:], end], 2), torch.cat([end, back[:, :, :-1]], 2), still], 1)


class Shifting(Block):
    """A block whose branch has shifted input; with `inplace`, also its shortcut if that is a convolution."""

    inplace = False

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, T, H, W) to (N, out_channels, T, H/stride, W/stride)."""
        shifted = shift(x)
        beside = shifted if self.inplace and not isinstance(self.downsample, nn.Identity) else x
        joined: Tensor = self.relu(self.branch(shifted) + self.downsample(beside))
        return joined


class ShiftingBottleneck(Shifting, Bottleneck):
    """Combines both base classes."""


class ShiftingBasicBlock(Shifting, BasicBlock):
    """Combines both base classes."""


def tsm(
    config: ShiftConfig,
    *,
    attention: bool = False,
    position_resize: PositionResize = "clamp",
    classifies: bool = False,
) -> Backbone:
    """Return the backbone: TSN's with shifting blocks, or with its own if `shift` is none.

    A lite backbone shifts the branch of each block with a shortcut; none of its shortcuts is strided.
    """
    if is_lite(config.arch):
        return tsn(config, shift=None if config.shift == "none" else shift, classifies=classifies)
    kind = ShiftingBottleneck if DEPTHS[config.arch][0] is Bottleneck else ShiftingBasicBlock

    def block(*channels: int, **settings: Any) -> Block:
        made = kind(*channels, **settings)
        made.inplace = config.shift == "inplace"
        return made

    chosen = None if config.shift == "none" else block
    return tsn(config, attention=attention, position_resize=position_resize, block=chosen)


def _tsm(config: TSMConfig) -> Network:
    return classifier(config, tsm(config, classifies=True))


TSM_FAMILY = Family(
    title="Temporal Shift Module (Lin et al., 2019)",
    config=TSMConfig,
    build=_tsm,
    published=(
        Published(arch="r50", clip="8 frames", data="Kinetics-400", top1=74.1, source="mit-han-lab", note="dense"),
        Published(arch="r50", clip="8 segments", data="Something-Something V1", top1=45.6, source="mit-han-lab"),
        Published(arch="r50", clip="8 segments", data="Something-Something V2", top1=61.2, source="mit-han-lab"),
    ),
)
