"""Which memory layout the activations have: decided here, by measurement (`benchmarks/layout.py`), and nowhere else.

- `plain`: (N, C, T, H, W) as it stands.
- `channels_last`: the same tensors with the channels innermost in memory.
- `folded`: channels innermost, and a convolution that acts on space only, or on time only, runs as a 2D convolution:
  of N*T frames, or of N images of T x (H*W). Both foldings are views of a channels-last tensor. What a processor does
  faster otherwise is left out, wide kernels over space and some over time, unless the weights are packed.

Only activations change: parameters, and so checkpoints and optimiser states, are the same in all three.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdpn_core.model.packed import Geometry, PackedConvolution, can_run

Layout = Literal["plain", "channels_last", "folded"]

DECISION: dict[tuple[str, bool], Layout] = {
    ("cpu", False): "folded",
    ("cpu", True): "folded",
}
"""(device type, training) -> the fastest layout measured; `plain` for what is not listed."""

WIDE = 512
"""Channels from which on a processor convolves over space fastest in the plain form, unless weights are packed: the
gradient of weights so large would have to be turned into their layout."""


def choose(device_type: str, training: bool) -> Layout:
    """The layout for a device type ("cpu", "cuda") in training or in inference."""
    return DECISION.get((device_type, training), "plain")


def arrange(model: nn.Module, device_type: str, layout: Layout | None = None) -> None:
    """Make every convolution of `model` run in `layout`, or where it is None in the one that `choose` names.

    Cheap enough to be called at every forward pass, which makes the layout follow the device and the mode.
    """
    layout = layout or choose(device_type, model.training)
    for module in model.modules():
        if isinstance(module, FoldingConv):
            module.layout = layout


def freeze(model: nn.Module) -> None:
    """Say that the weights of `model`'s convolutions never change again: a processor may lay them out once."""
    for module in model.modules():
        if isinstance(module, FoldingConv):
            module.frozen = True


class FoldingConv(nn.Conv3d):
    """A 3D convolution that first brings its input into `layout`. What follows a convolution inherits its layout."""

    layout: Layout = "plain"
    frozen: bool = False
    _packed: PackedConvolution | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to (N, C', T', H', W')."""
        packed = self.frozen and self.layout == "folded" and can_run(x)
        if self._packed and not packed:
            self._unpack()
        if self.layout == "plain" or (self.layout == "folded" and not packed and self._is_wide(x)):
            return self._convolve(x.contiguous(), slice(0, 3), packed)
        x = x.contiguous(memory_format=torch.channels_last_3d)
        time, *space = self.kernel_size
        if self.layout == "folded" and time == 1 and self.stride[0] == 1:
            return self._over_space(x, packed)
        if self.layout == "folded" and space == [1, 1] and self.stride == (1, 1, 1) and (packed or self._is_slow(x)):
            return self._over_time(x, packed)
        return self._convolve(x, slice(0, 3), packed)

    def _is_wide(self, x: Tensor) -> bool:
        over_space = self.kernel_size[0] == 1 and self.kernel_size != (1, 1, 1)
        return x.device.type == "cpu" and over_space and self.in_channels >= WIDE

    def _is_slow(self, x: Tensor) -> bool:
        """Whether torch's 3D convolution over time is slower than a 2D one: with several threads oneDNN does it."""
        return (
            x.device.type != "cpu" or self.groups > 1 or torch.compiler.is_compiling() or torch.get_num_threads() == 1
        )

    def _over_space(self, x: Tensor, packed: bool) -> Tensor:
        frames = x.transpose(1, 2).flatten(0, 1)  # (N*T, C, H, W)
        out = self._convolve(frames, slice(1, 3), packed)
        return out.view(x.shape[0], x.shape[2], *out.shape[1:]).transpose(1, 2)

    def _over_time(self, x: Tensor, packed: bool) -> Tensor:
        out = self._convolve(x.flatten(3), slice(0, 2), packed)  # (N, C, T, H*W)
        return out.view(*out.shape[:3], *x.shape[3:])

    def _convolve(self, x: Tensor, axes: slice, packed: bool) -> Tensor:
        """Over these axes of (T, H, W), the kernel being 1 on the one left out."""
        if self._packed:
            return self._packed(x)
        weight = self.weight.reshape(*self.weight.shape[:2], *self.kernel_size[axes])
        geometry = Geometry(self.stride[axes], self.padding[axes], self.groups)  # type: ignore[arg-type]
        if packed:
            self._packed = PackedConvolution(weight, self.bias, geometry)
            self.weight = nn.Parameter(weight.new_empty(0), requires_grad=False)  # one copy is enough
            return self._packed(x)
        convolve = F.conv3d if weight.ndim == 5 else F.conv2d
        return convolve(x, weight, self.bias, geometry.stride, geometry.padding, groups=self.groups)

    def _unpack(self) -> None:
        assert self._packed
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        self.weight = nn.Parameter(self._packed.unpacked().view(shape), requires_grad=False)
        self._packed = None
