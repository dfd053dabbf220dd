"""R3D and MC3: residual networks of 3x3x3 convolutions, or of mixed 3x3x3 and 1x3x3 ones.

Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018. R3D-18 is the Res3D of
Tran et al., "ConvNet Architecture Search for Spatiotemporal Feature Learning", 2017. Both follow torchvision's code.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from tdpn_core.config.families import Family, Published
from tdpn_core.config.family_settings import R3DConfig
from tdpn_core.model.base import Network, classifier
from tdpn_core.model.blocks import BasicBlock, shortcut
from tdpn_core.model.layers import FRAME, Conv, Kernel
from tdpn_core.model.resnet import ResNet

CUBE: Kernel = (3, 3, 3)


class CubicBlock(BasicBlock):
    """A basic block whose two convolutions have the same kernel; a kernel over time also has a stride in time."""

    def __init__(self, channels: int, width: int, out_channels: int, *, kernel: Kernel, stride: int, **unused: object):
        super().__init__(channels, width, out_channels, stride=stride)
        temporal_stride = stride if kernel[0] > 1 else 1
        self.conv1 = Conv(channels, width, kernel, stride=stride, temporal_stride=temporal_stride)
        self.conv2 = Conv(width, out_channels, kernel)
        self.downsample = shortcut(channels, out_channels, stride, temporal_stride)


class R3D(ResNet):
    """Backbone with maps of 1/2 to 1/16 of the input size, since no pool follows the first convolution."""

    def __init__(self, config: R3DConfig):
        first, later = partial(CubicBlock, kernel=CUBE), partial(CubicBlock, kernel=FRAME if config.mixed else CUBE)
        super().__init__(
            config.arch,
            width=config.width,
            in_channels=config.channels,
            stem_kernel=3,
            temporal_kernels=(1, 1, 1, 1),
            block={"res2": first, "res3": later, "res4": later, "res5": later},
        )
        self.maxpool = nn.Identity()


def _r3d(config: R3DConfig) -> Network:
    return classifier(config, R3D(config))


R3D_FAMILY = Family(
    title="3D ResNet (Tran et al., 2017), and MC3",
    config=R3DConfig,
    build=_r3d,
    published=(
        Published(arch="r18", clip="16x2", data="Kinetics-400", top1=63.2, source="torchvision"),
        Published(arch="r18", clip="16x2", data="Kinetics-400", top1=63.96, source="torchvision", note="MC3"),
    ),
)
