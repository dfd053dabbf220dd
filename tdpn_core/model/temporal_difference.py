"""The two temporal difference modules of TDPN, applied to backbone levels where they enter the pyramid.

Based on Wang et al., "TDN: Temporal Difference Networks for Efficient Action Recognition", CVPR 2021.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tdpn_core.config.families import Level
from tdpn_core.config.family_settings import WINDOW, LocalFusion, Temporal, Window
from tdpn_core.model.blocks import Bottleneck
from tdpn_core.model.layers import FRAME, Conv, ConvNorm, halve, resize
from tdpn_core.model.resnet import scaled

CENTRE = WINDOW // 2
LATERAL_STRIDE: dict[Level, int] = {"res2": 1, "res3": 1, "res4": 2, "res5": 4}


class GlobalDifference(nn.Module):
    """The global temporal module, eqs. (2) and (3): F + F ⊙ G, with G from the differences of neighbouring frames.

    Both directions share all weights and, in training, batch statistics, so that one normalisation serves both.
    """

    def __init__(self, channels: int, *, reduction: int = 16):
        super().__init__()
        reduced = channels // reduction
        self.reduce = ConvNorm(channels, reduced, relu=False)
        self.smooth = Conv(reduced, reduced, FRAME, groups=reduced)
        self.coarse = ConvNorm(reduced, reduced, FRAME, relu=False)
        self.fine = ConvNorm(reduced, reduced, FRAME, relu=False)
        self.restore = ConvNorm(reduced, channels, relu=False)

    def forward(self, level: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to the same shape."""
        b: Tensor = self.reduce(level)
        c: Tensor = self.smooth(b)
        gate = self._gate(torch.cat(self.steps(b, c)))
        gate_ahead, gate_back = gate.unflatten(0, (2, -1)).unbind()  # with sizes known to a traced graph
        moved: Tensor = level + level * ((gate_ahead + gate_back) / 2)
        return moved

    def steps(self, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return the differences ahead (0 at the end) and back (0 at the start) of `b` to the neighbours in `c`."""
        none = torch.zeros_like(b[:, :, :1])
        ahead = torch.cat([b[:, :, :-1] - c[:, :, 1:], none], 2)
        back = torch.cat([none, b[:, :, 1:] - c[:, :, :-1]], 2)
        return ahead, back

    def shrink(self, d: Tensor) -> Tensor:
        """Halve height and width, for the coarse branch."""
        return halve(d)

    def _gate(self, d: Tensor) -> Tensor:
        coarse = self.coarse(self.shrink(d))
        branch = (d + resize(coarse, d) + self.fine(d)) / 3
        gate: Tensor = torch.sigmoid(self.restore(branch)) - 0.5
        return gate


class DifferenceEncoder(nn.Module):
    """A light 2D network on the RGB differences around each sampled frame: CNN(Down(D(I)))."""

    def __init__(self, stem: int, layer1: nn.Sequential, *, window: Window = 5, in_channels: int = 3):
        """`stem` is the number of input channels of `layer1`, `in_channels` that of a frame."""
        super().__init__()
        self.window = window
        self.conv1 = Conv(in_channels * (WINDOW - 1), stem, (1, 7, 7), stride=2)
        self.bn1 = nn.BatchNorm3d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.layer1 = layer1

    def stem(self, clip: Tensor) -> Tensor:
        """Map the clip (N, C, T * window, H, W) to the input of `layer1`, (N, stem, T, H/8, W/8)."""
        # Down before D: the same by linearity, and a quarter of the work
        x = differences(halve(clip), self.window)
        stem: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return stem


class LocalDifference(DifferenceEncoder):
    """The local temporal module, eq. (1): H = Up(CNN(Down(D(I)))), one light CNN with a lateral to each level.

    `add` fuses level + H, with the lateral's last gamma initialised to zero; `mean` is (level + H) / 2.
    """

    def __init__(
        self,
        channels: Mapping[Level, int],
        *,
        width: float = 1.0,
        window: Window = 5,
        fusion: LocalFusion = "add",
        in_channels: int = 3,
    ):
        """`channels` are those of the module's levels, `in_channels` that of a frame."""
        stem, out = scaled(64, width), scaled(256, width)
        layer1 = nn.Sequential(*(Bottleneck(stem if n == 0 else out, stem, out) for n in range(3)))
        super().__init__(stem, layer1, window=window, in_channels=in_channels)
        self.fusion = fusion
        self.lateral = nn.ModuleDict(
            {level: ConvNorm(out, count, stride=LATERAL_STRIDE[level], relu=False) for level, count in channels.items()}
        )
        if fusion == "add":
            for lateral in self.lateral.values():
                nn.init.zeros_(lateral.get_parameter("bn.weight"))

    def forward(self, clip: Tensor, levels: Mapping[Level, Tensor]) -> dict[Level, Tensor]:
        """Map the clip (N, C, T * window, H, W) and levels (N, C, T, H', W') to the levels fused with motion."""
        x = self.layer1(self.stem(clip))
        return {name: self._join(level, resize(self.lateral[name](x), level)) for name, level in levels.items()}

    def _join(self, level: Tensor, motion: Tensor) -> Tensor:
        return level + motion if self.fusion == "add" else (level + motion) / 2


class TemporalDifference(nn.Module):
    """The module of each level: its own global module, the shared local module, or none."""

    def __init__(
        self,
        kinds: Mapping[Level, Temporal],
        channels: Mapping[Level, int],
        *,
        width: float = 1.0,
        window: Window = 5,
        local_fusion: LocalFusion = "add",
        in_channels: int = 3,
        reduction: int = 16,
    ):
        super().__init__()
        self.window = window
        self.on_global = nn.ModuleDict(
            OrderedDict(
                (level, GlobalDifference(channels[level], reduction=reduction))
                for level in kinds
                if kinds[level] == "global"
            )
        )
        served = {level: channels[level] for level in kinds if kinds[level] == "local"}
        self.local = (
            LocalDifference(served, width=width, window=window, fusion=local_fusion, in_channels=in_channels)
            if served
            else None
        )

    def forward(self, clip: Tensor, levels: Mapping[Level, Tensor]) -> dict[Level, Tensor]:
        """Map the network's input clip and the backbone's levels to the levels with their motion."""
        out = dict(levels)
        for level in levels:
            if level in self.on_global:
                out[level] = self.on_global[level](levels[level])
        if self.local is not None:
            out |= self.local(clip, {level: levels[level] for level in levels if level in self.local.lateral})
        return out


def differences(clip: Tensor, window: int) -> Tensor:
    """D(I): the four differences around each sampled frame, oldest first, as (N, 4 * C, T, H, W); C is 3 for RGB.

    With `window` 5, the clip (N, C, T*5, H, W) contains each sampled frame's neighbours; with 1, the neighbours are the
    sampled frames of (N, C, T, H, W), with the first and last repeated.
    """
    N, C, T, H, W = clip.shape
    if window == WINDOW:
        groups = clip.view(N, C, -1, WINDOW, H, W)
    else:
        index = torch.arange(T, device=clip.device)[:, None] + torch.arange(-CENTRE, CENTRE + 1, device=clip.device)
        groups = clip[:, :, index.clamp(0, T - 1)]  # (N, C, T, 5, H, W)
    steps = groups[:, :, :, 1:] - groups[:, :, :, :-1]  # (N, C, T, 4, H, W)
    return steps.permute(0, 3, 1, 2, 4, 5).flatten(1, 2)


def sampled_frames(clip: Tensor, frames_per_step: int) -> Tensor:
    """Return the backbone's input: the centre of each `frames_per_step` of (N, C, T * frames_per_step, H, W)."""
    return clip[:, :, frames_per_step // 2 :: frames_per_step]
