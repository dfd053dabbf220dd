"""The pyramid neck: modulation of every level to one shape, two information flows, and their fusion.

Yang et al., "Temporal Pyramid Network for Action Recognition" (TPN), CVPR 2020, here for any ascending levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from tdpn_core.config.families import LEVELS, Level
from tdpn_core.config.family_settings import Flow
from tdpn_core.errors import ConfigError
from tdpn_core.model.layers import FRAME, TIME, Conv, ConvNorm, initialise, resize

GROUPS = 32
FLOWS: dict[Flow, tuple[str, ...]] = {
    "cascade": ("top_down", "bottom_up"),
    "parallel": ("top_down", "bottom_up"),
    "top_down": ("top_down",),
    "bottom_up": ("bottom_up",),
    "none": ("levels",),
}
"""Flows to fuse, in the order of concatenation, for each value of the setting."""


class Pyramid(nn.Module):
    """The neck: maps its levels, a subset of res2..res5, to one map of the top's shape."""

    def __init__(
        self,
        channels: Mapping[Level, int],
        *,
        levels: Sequence[Level],
        num_frames: int,
        width: int,
        flow: Flow = "cascade",
        separable: bool = False,
        temporal_rates: Sequence[int] | None = None,
    ):
        """`channels` are those of res2..res5; `width` that of the modulated levels (half the top's at width 1).

        Raises:
            ConfigError: the temporal rates give numbers of steps that do not divide each other.
        """
        super().__init__()
        self.levels = tuple(levels)
        self.flow = flow
        self.rates = tuple(temporal_rates or [num_frames] * len(levels))
        steps = temporal_steps(num_frames, self.rates)
        top = channels[self.levels[-1]]
        self.spatial = nn.ModuleDict(
            {level: spatial_modulation(channels, level, separable=separable) for level in self.levels}
        )
        self.temporal = nn.ModuleDict({level: Conv(top, width, TIME, groups=GROUPS) for level in self.levels})
        if "bottom_up" in FLOWS[flow]:
            self.bottom_up = nn.ModuleDict({level: Conv(width, width, TIME) for level in self.levels[:-1]})
        self.fusion = nn.ModuleDict({name: LevelFusion(self.levels, width, steps) for name in FLOWS[flow]})
        self.pyramid_fusion = ConvNorm(len(self.fusion) * 2 * width, top)
        initialise(self)

    def forward(self, levels: Mapping[Level, Tensor]) -> Tensor:
        """Map each level (N, C, T, H, W) to (N, top, T', H', W'), with T' = 1 for the default temporal rates."""
        rates = zip(self.levels, self.rates, strict=True)
        modulated = [self._modulate(levels[level], level, rate) for level, rate in rates]
        flows = self._flows(modulated)
        fused = [fusion(flows[name]) for name, fusion in self.fusion.items()]
        out: Tensor = self.pyramid_fusion(torch.cat(fused, 1))
        return out

    def _modulate(self, x: Tensor, level: Level, rate: int) -> Tensor:
        return pool_time(self.temporal[level](self.spatial[level](x)), rate)

    def _flows(self, modulated: list[Tensor]) -> dict[str, list[Tensor]]:
        """Return the inputs of each level fusion. `cascade` starts the bottom-up flow from the top-down result."""
        if self.flow == "none":
            return {"levels": modulated}
        if self.flow == "bottom_up":
            return {"bottom_up": self._bottom_up(modulated)}
        top_down = self._top_down(modulated)
        if self.flow == "top_down":
            return {"top_down": top_down}
        start = top_down if self.flow == "cascade" else modulated
        return {"top_down": top_down, "bottom_up": self._bottom_up(start)}

    def _top_down(self, levels: list[Tensor]) -> list[Tensor]:
        out = [levels[-1]]
        for lower in reversed(levels[:-1]):
            out.insert(0, lower + resize(out[0], lower))
        return out

    def _bottom_up(self, levels: list[Tensor]) -> list[Tensor]:
        out = [levels[0]]
        for conv, higher in zip(self.bottom_up.values(), levels[1:], strict=True):
            below = conv(out[-1])
            out.append(higher + pool_time(below, below.shape[2] // higher.shape[2]))
        return out


class LevelFusion(nn.Module):
    """Fusion of a flow: levels reduced to the top's T, through a grouped 1x1x1 each, concatenated and projected."""

    def __init__(self, levels: Sequence[Level], width: int, steps: Sequence[int]):
        super().__init__()
        self.rates = tuple(count // steps[-1] for count in steps)
        self.levels = nn.ModuleDict({level: ConvNorm(width, width, groups=GROUPS) for level in levels})
        self.project = ConvNorm(len(levels) * width, 2 * width)

    def forward(self, flow: Sequence[Tensor]) -> Tensor:
        """Map (N, width, T, H, W) of each level, low to high, to (N, 2 * width, T of the top, H, W)."""
        parts = zip(self.levels.values(), self.rates, flow, strict=True)
        out: Tensor = self.project(torch.cat([convolve(pool_time(x, rate)) for convolve, rate, x in parts], 1))
        return out


def spatial_modulation(channels: Mapping[Level, int], level: Level, *, separable: bool) -> nn.Sequential:
    """Return strided convolutions from a level to the top's channels and size, one per level above it."""
    above = [channels[name] for name in LEVELS[LEVELS.index(level) :]]
    return nn.Sequential(*(_halve(before, after, separable=separable) for before, after in pairwise(above)))


def _halve(channels: int, out_channels: int, *, separable: bool) -> nn.Module:
    if not separable:
        return ConvNorm(channels, out_channels, FRAME, stride=2)
    return nn.Sequential(Conv(channels, channels, FRAME, stride=2, groups=channels), ConvNorm(channels, out_channels))


def temporal_steps(num_frames: int, rates: Sequence[int]) -> tuple[int, ...]:
    """T' of each level after max pools of these rates over T frames.

    Raises:
        ConfigError: a rate does not divide T, or a level's T' is no multiple of the next higher level's.
    """
    if any(rate < 1 or num_frames % rate for rate in rates):
        raise ConfigError(f"temporal_rates {tuple(rates)} must divide the {num_frames} frames")
    steps = tuple(num_frames // rate for rate in rates)
    if any(lower % higher for lower, higher in pairwise(steps)):
        raise ConfigError(
            f"temporal_rates {tuple(rates)} leave {steps} steps of {num_frames} frames: "
            "each must be a multiple of the next"
        )
    return steps


def pool_time(x: Tensor, rate: int) -> Tensor:
    """The maximum over each `rate` steps of (N, C, T, H, W)."""
    N, C, T, H, W = x.shape
    return x if rate == 1 else x.view(N, C, T // rate, rate, H, W).amax(3)
