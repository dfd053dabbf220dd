"""TSM: TSN, where every block first shifts some of its channels by one frame, forwards and backwards.

Lin et al., "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tdpn_core.config.schema import ModelConfig
from tdpn_core.model.baselines.resnets import tsn
from tdpn_core.model.blocks import BasicBlock, Block, Bottleneck
from tdpn_core.model.resnet import DEPTHS, ResNet

FOLD = 8
"""Of so many parts of the channels one is shifted each way."""


def shift(x: Tensor) -> Tensor:
    """(N, C, T, H, W): the first C/8 channels from the next frame, the second C/8 from the one before; zeros beyond."""
    fold = x.shape[1] // FOLD
    ahead, back, still = x.split([fold, fold, x.shape[1] - 2 * fold], 1)
    end = torch.zeros_like(ahead[:, :, :1])
    return torch.cat([torch.cat([ahead[:, :, 1:], end], 2), torch.cat([end, back[:, :, :-1]], 2), still], 1)


class Shifting(Block):
    """A block whose branch sees the shifted input; `inplace`: and so does its shortcut, where that is a convolution."""

    inplace = False

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, T, H, W) to (N, out_channels, T, H/stride, W/stride)."""
        shifted = shift(x)
        beside = shifted if self.inplace and not isinstance(self.downsample, nn.Identity) else x
        joined: Tensor = self.relu(self.branch(shifted) + self.downsample(beside))
        return joined


class ShiftingBottleneck(Shifting, Bottleneck):
    """See the two."""


class ShiftingBasicBlock(Shifting, BasicBlock):
    """See the two."""


def tsm(config: ModelConfig) -> ResNet:
    """The backbone: TSN's with shifting blocks, or with its own where `shift` is none."""
    kind = ShiftingBottleneck if DEPTHS[config.arch][0] is Bottleneck else ShiftingBasicBlock

    def block(*channels: int, **settings: Any) -> Block:
        made = kind(*channels, **settings)
        made.inplace = config.shift == "inplace"
        return made

    return tsn(config, None if config.shift == "none" else block)
