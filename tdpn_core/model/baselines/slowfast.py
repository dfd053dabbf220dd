"""SlowFast: a slow pathway on every alpha-th frame, and a thin fast pathway on all frames that feeds it.

Feichtenhofer et al., "SlowFast Networks for Video Recognition", ICCV 2019. The input clip is that of the fast pathway.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from tdpn_core.config.families import LEVELS, Family, Level, Published
from tdpn_core.config.family_settings import SlowFastConfig
from tdpn_core.model.base import Network, classifier
from tdpn_core.model.layers import Backbone, Conv, ConvNorm
from tdpn_core.model.resnet import ResNet, limited

THINNER = 8
"""Ratio of channels of the slow to the fast pathway (1 / beta in the paper)."""


class SlowFast(Backbone):
    """The two pathways, with lateral connections from the fast to the slow one after the stem and res2..res4."""

    def __init__(self, config: SlowFastConfig):
        super().__init__()
        self.alpha = config.alpha
        self.spread = config.slow_frames == "linspace"
        self.fast = ResNet(
            config.arch,
            width=config.width / THINNER,
            multiple=8,
            in_channels=config.channels,
            stem_kernel=5,
            temporal_kernels=limited((3, 3, 3, 3), config.temporal_blocks, config.arch),
        )
        sources = (self.fast.stem_channels, *(self.fast.channels[level] for level in LEVELS[:-1]))
        a, b, c, d = (2 * channels for channels in sources)
        self.slow = ResNet(
            config.arch,
            width=config.width,
            in_channels=config.channels,
            temporal_kernels=limited((1, 1, 3, 3), config.temporal_blocks, config.arch),
            joining=(a, b, c, d),
        )
        self.lateral = nn.ModuleList(lateral(channels, config) for channels in sources)
        self.channels = {level: self.slow.channels[level] + self.fast.channels[level] for level in LEVELS}

    def forward(self, frames: Tensor) -> dict[Level, Tensor]:
        """Map the fast pathway's frames (N, C, T, H, W) to res2..res5 (N, slow + fast channels, T / alpha, H', W').

        The fast pathway's maps are averaged over alpha steps, which does not change a head's temporal mean.
        """
        slow, fast = self.slow.stem(self.slow_frames(frames)), self.fast.stem(frames)
        levels: dict[Level, Tensor] = {}
        for level, across in zip(LEVELS, self.lateral, strict=True):
            slow = self.slow.stage(level, torch.cat([slow, across(fast)], 1))
            fast = self.fast.stage(level, fast)
            levels[level] = torch.cat([slow, fast.unflatten(2, (-1, self.alpha)).mean(3)], 1)
        return levels

    def stages(self) -> dict[str, list[nn.Module]]:
        """Return the parts of stem and res2..res5 of both pathways; laterals belong to the stage that they feed."""
        slow, fast = self.slow.stages(), self.fast.stages()
        both = {name: [*slow[name], *fast[name]] for name in slow}
        for level, across in zip(LEVELS, self.lateral, strict=True):
            both[level].append(across)
        return both

    def slow_frames(self, frames: Tensor) -> Tensor:
        """Return the slow pathway's T / alpha frames of (N, C, T, H, W)."""
        if not self.spread:
            return frames[:, :, :: self.alpha]
        T = frames.shape[2]
        return frames[:, :, torch.linspace(0, T - 1, T // self.alpha, device=frames.device).long()]


def lateral(channels: int, config: SlowFastConfig) -> nn.Sequential:
    """Return a convolution over time to twice the channels at the slow pathway's frames."""
    kernel, stride = (config.lateral_kernel, 1, 1), config.alpha
    if config.lateral_norm:
        return ConvNorm(channels, 2 * channels, kernel, temporal_stride=stride)
    return nn.Sequential(OrderedDict(conv=Conv(channels, 2 * channels, kernel, temporal_stride=stride)))


def _slowfast(config: SlowFastConfig) -> Network:
    return classifier(config, SlowFast(config))


SLOWFAST_FAMILY = Family(
    title="SlowFast (Feichtenhofer et al., 2019)",
    config=SlowFastConfig,
    build=_slowfast,
    published=(
        Published(arch="r50", clip="8x8", data="Kinetics-400", top1=77.0, top5=92.6, source="PySlowFast"),
        Published(arch="r101", clip="8x8", data="Kinetics-400", top1=77.9, top5=93.27, source="pytorchvideo"),
    ),
)
