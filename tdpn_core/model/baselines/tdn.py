"""TDN: a 2D ResNet with differences of five frames in its first stages and of segments in its later stages.

Wang et al., "TDN: Temporal Difference Networks for Efficient Action Recognition", CVPR 2021, as released: signs,
rounding and weights of the first sums are those of the code.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdpn_core.config.families import Family, Level, Published
from tdpn_core.config.family_settings import WINDOW, TDNConfig
from tdpn_core.model.base import Network, classifier
from tdpn_core.model.blocks import BasicBlock, Block, Bottleneck
from tdpn_core.model.layers import TIME, Conv, resize
from tdpn_core.model.resnet import DEPTHS, ResNet
from tdpn_core.model.temporal_difference import CENTRE, DifferenceEncoder, GlobalDifference

FOLD = 8
"""One of this many parts of the channels is initially shifted in each direction."""


class SegmentDifference(GlobalDifference):
    """The long-term module: TDPN's global one, but neighbour minus frame, and odd sizes are halved rounding down."""

    def steps(self, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return the negatives of TDPN's differences."""
        ahead, back = super().steps(b, c)
        return -ahead, -back

    def shrink(self, d: Tensor) -> Tensor:
        """Halve the size, 7 to 3; a single row or column is unchanged."""
        height, width = d.shape[3:]
        return F.avg_pool3d(d, (1, min(2, height), min(2, width)))


class TrainedShift(Conv):
    """A depth-wise convolution over time, initialised as TSM's shift: an eighth of the channels in each direction."""

    def __init__(self, channels: int):
        super().__init__(channels, channels, TIME, groups=channels)

    def reset_parameters(self) -> None:
        """Initialise the weight to one at the frame that each channel is taken from."""
        fold = self.out_channels // FOLD
        with torch.no_grad():
            self.weight.zero_()
            self.weight[:fold, :, 2] = 1
            self.weight[fold : 2 * fold, :, 0] = 1
            self.weight[2 * fold :, :, 1] = 1


class Differencing(Block):
    """A block with the long-term module and the shift after its first convolution."""

    difference: SegmentDifference
    shift: TrainedShift

    def between(self, x: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to the same shape."""
        out: Tensor = self.shift(self.difference(x))
        return out


class DifferencingBottleneck(Differencing, Bottleneck):
    """Combines both base classes."""


class DifferencingBasicBlock(Differencing, BasicBlock):
    """Combines both base classes."""


class TDNBackbone(ResNet):
    """Long-term modules in every block of res3..res5; the short-term module is added before and after res2."""

    def __init__(self, config: TDNConfig):
        def block(channels: int, width: int, out_channels: int, **settings: Any) -> Block:
            made = kind(channels, width, out_channels, **settings)
            made.difference, made.shift = SegmentDifference(width), TrainedShift(width)
            return made

        plain, (count, *_) = DEPTHS[config.arch]
        kind = DifferencingBottleneck if plain is Bottleneck else DifferencingBasicBlock
        super().__init__(
            config.arch,
            width=config.width,
            in_channels=config.channels,
            temporal_kernels=(1, 1, 1, 1),
            block={"res3": block, "res4": block, "res5": block},
        )
        stem, out = self.stem_channels, self.channels["res2"]
        layer1 = nn.Sequential(*(plain(stem if n == 0 else out, stem, out) for n in range(count)))
        self.motion = DifferenceEncoder(stem, layer1, in_channels=config.channels)
        self.share = 0.5 if config.num_frames == 8 else 0.25

    def forward(self, clip: Tensor) -> dict[Level, Tensor]:
        """Return the four levels for five frames per segment, (N, C, T * 5, H, W)."""
        motion = self.motion.stem(clip)
        res2 = self.stage("res2", self._joined(self.stem(clip[:, :, CENTRE::WINDOW]), motion))
        res2 = self._joined(res2, self.motion.layer1(motion))
        res3 = self.stage("res3", res2)
        res4 = self.stage("res4", res3)
        return {"res2": res2, "res3": res3, "res4": res4, "res5": self.stage("res5", res4)}

    def stages(self) -> dict[str, list[nn.Module]]:
        """Return a ResNet's stages, with the short-term module's parts in the stem and res2."""
        found = super().stages()
        found["stem"] += [self.motion.conv1, self.motion.bn1]
        found["res2"].append(self.motion.layer1)
        return found

    def _joined(self, x: Tensor, motion: Tensor) -> Tensor:
        return (1 - self.share) * x + self.share * resize(motion, x)


class TDN(Network):
    """The network of a configuration."""

    def frames(self, clip: Tensor) -> Tensor:
        """Return all five frames of each segment."""
        self.check(clip)
        return clip


def _tdn(config: TDNConfig) -> Network:
    return classifier(config, TDNBackbone(config), TDN)


TDN_FAMILY = Family(
    title="Temporal Difference Networks (Wang et al., 2021)",
    config=TDNConfig,
    build=_tdn,
    sampling="segments",
    published=(
        Published(arch="r50", clip="8 segments", data="Kinetics-400", top1=76.6, top5=92.8, source="MCG-NJU/TDN"),
        Published(
            arch="r50", clip="8 segments", data="Something-Something V1", top1=52.3, top5=80.6, source="MCG-NJU/TDN"
        ),
        Published(
            arch="r50", clip="8 segments", data="Something-Something V2", top1=64.0, top5=88.8, source="MCG-NJU/TDN"
        ),
    ),
)
