"""C3D: eight 3x3x3 convolutions without normalisation, and three linear layers.

Tran et al., "Learning Spatiotemporal Features with 3D Convolutional Networks", ICCV 2015; padding and layers
follow mmaction2.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from tdpn_core.config.families import Family, Level, Published
from tdpn_core.config.family_settings import C3DConfig
from tdpn_core.model.base import FeatureMaps, Network
from tdpn_core.model.heads import Head
from tdpn_core.model.layers import Backbone
from tdpn_core.model.resnet import scaled

STAGES: dict[Literal["stem"] | Level, dict[str, int]] = {
    "stem": {"conv1a": 64},
    "res2": {"conv2a": 128},
    "res3": {"conv3a": 256, "conv3b": 256},
    "res4": {"conv4a": 512, "conv4b": 512},
    "res5": {"conv5a": 512, "conv5b": 512},
}
"""The convolutions before each pool, with their channels."""

UNITS = 4096
"""Channels of the two hidden linear layers."""


class Pool(nn.Module):
    """Max-pool over 2 x 2 positions and `steps` time steps; a single time step is not pooled."""

    def __init__(self, steps: int, *, padded: bool = False):
        super().__init__()
        self.steps = steps
        self.padding = (0, 1, 1) if padded else (0, 0, 0)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to (N, C, T/steps, H/2, W/2), rounded down; with padding, even sizes give one more."""
        steps = min(self.steps, x.shape[2])
        return F.max_pool3d(x, (steps, 2, 2), (steps, 2, 2), self.padding)


class C3DBackbone(Backbone):
    """Convolutions that map (N, C, T, H, W) to the outputs of pools 2 to 5, at 1/4 to 1/32 of the size."""

    def __init__(self, config: C3DConfig):
        super().__init__()
        channels = config.channels
        self.channels: dict[Level, int] = {}
        for number, (stage, convolutions) in enumerate(STAGES.items(), start=1):
            for name, count in convolutions.items():
                conv = nn.Conv3d(channels, scaled(count, config.width, 8), 3, padding=1)
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(_bias(conv))
                self.add_module(name, conv)
                channels = conv.out_channels
            self.add_module(f"pool{number}", Pool(1 if number == 1 else 2, padded=number == 5))
            if stage != "stem":
                self.channels[stage] = channels

    def forward(self, frames: Tensor) -> dict[Level, Tensor]:
        """Return the outputs of all pools except the first."""
        x, levels = frames, dict[Level, Tensor]()
        for number, (stage, convolutions) in enumerate(STAGES.items(), start=1):
            for name in convolutions:
                x = F.relu(self.get_submodule(name)(x))
            x = self.get_submodule(f"pool{number}")(x)
            if stage != "stem":
                levels[stage] = x
        return levels

    def stages(self) -> dict[str, list[nn.Module]]:
        """Return the convolutions of each stage."""
        return {stage: [self.get_submodule(name) for name in names] for stage, names in STAGES.items()}


class C3D(Network):
    """C3D: the convolutions, two hidden linear layers, and the classifier."""

    backbone: C3DBackbone

    def __init__(self, config: C3DConfig):
        backbone, units = C3DBackbone(config), scaled(UNITS, config.width)
        super().__init__(
            config, backbone=backbone, head=Head(units, config.num_classes, config.dropout, config.pooling)
        )
        self.grid = _grid(config.num_frames, config.input_size)
        self.fc6 = nn.Linear(backbone.channels["res5"] * self.grid[0] * self.grid[1] * self.grid[2], units)
        self.fc7 = nn.Linear(units, units)
        self.dropout = nn.Dropout(config.dropout)
        for layer in (self.fc6, self.fc7):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def feature_maps(self, clip: Tensor) -> FeatureMaps:
        """Return the levels, and the last hidden layer as a 1 x 1 x 1 map."""
        levels = self.backbone(self.frames(clip))
        x = levels["res5"]
        if tuple(x.shape[2:]) != self.grid:
            x = F.adaptive_avg_pool3d(x, self.grid)
        hidden = self.dropout(F.relu(self.fc6(x.flatten(1))))
        return FeatureMaps(levels, F.relu(self.fc7(hidden))[:, :, None, None, None])


def _grid(frames: int, side: int) -> tuple[int, int, int]:
    """Return time steps, rows and columns of the last map."""
    steps, positions = frames, side // 16
    for _ in range(4):
        steps = max(1, steps // 2)
    return steps, positions // 2 + 1, positions // 2 + 1


def _bias(conv: nn.Conv3d) -> Tensor:
    assert conv.bias is not None
    return conv.bias


def _c3d(config: C3DConfig) -> Network:
    return C3D(config)


C3D_FAMILY = Family(
    title="C3D (Tran et al., 2015)",
    config=C3DConfig,
    build=_c3d,
    published=(
        Published(
            arch="c3d",
            clip="16x1",
            data="UCF101 (split 1)",
            top1=83.08,
            top5=95.93,
            source="mmaction2",
            note="from Sports-1M",
        ),
    ),
)
