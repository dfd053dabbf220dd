"""Memory layout of activations, chosen by measurement (`benchmarks/layout.py`) and applied to a finished network.

- `plain`: (N, C, T, H, W) in that order in memory.
- `channels_last`: the same tensors with channels innermost in memory.
- `folded`: channels innermost, and a convolution only over space or only over time runs as a 2D convolution: of N*T
  frames, or of N images of T x (H*W). Both foldings are views of a channels-last tensor. Two kinds are excluded if
  unfolded convolutions are faster: wide kernels over space, and kernels over time with several threads.

`set_layout` replaces the convolutions of a finished network. Parameters remain the same tensors with the same names, so
checkpoints and optimiser states do not depend on the layout.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdpn_core.model.without_values import without_values

Layout = Literal["plain", "channels_last", "folded"]
Convolution = TypeVar("Convolution", bound=nn.Conv3d)

DECISION: dict[tuple[str, bool], Layout] = {
    ("cpu", False): "folded",
    ("cpu", True): "folded",
}
"""(device type, training) to the fastest layout measured; `plain` if not listed."""

WIDE = 512
"""Channels from which training of convolutions over space on a CPU is fastest in the plain layout: otherwise the large
weight gradient would have to be converted."""


def choose(device_type: str, training: bool) -> Layout:
    """Return the layout for a device type ("cpu", "cuda") in training or inference."""
    return DECISION.get((device_type, training), "plain")


def set_layout(model: nn.Module, layout: Layout) -> None:
    """Make every 3D convolution in `model` use `layout`, in place; `model.state_dict()` is unchanged."""
    for module in model.modules():
        if isinstance(module, FoldingConv):
            module.layout = layout
    if layout != "plain":
        for parent, name, conv in convolutions(model):
            if not isinstance(conv, FoldingConv):
                folding = with_parameters_of(conv, FoldingConv)
                folding.layout = layout
                setattr(parent, name, folding)


def convolutions(model: nn.Module) -> list[tuple[nn.Module, str, nn.Conv3d]]:
    """Return every 3D convolution in `model`, with its parent module and its name there."""
    return [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Conv3d)
    ]


def with_parameters_of(conv: nn.Conv3d, kind: type[Convolution]) -> Convolution:
    """Return a convolution of class `kind` with the geometry of `conv` and the same parameter tensors."""
    assert conv.padding_mode == "zeros"
    assert conv.dilation == (1, 1, 1)
    with without_values():
        made = kind(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            groups=conv.groups,
            bias=conv.bias is not None,
        )
    made.weight, made.bias = conv.weight, conv.bias
    return made.train(conv.training)


class FoldingConv(nn.Conv3d):
    """A 3D convolution that first converts its input to `layout`; following operations inherit the layout."""

    layout: Layout = "plain"

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to (N, C', T', H', W')."""
        if self.layout == "plain" or (self.layout == "folded" and self.is_faster_plain(x)):
            return self.convolve(x.contiguous(), slice(0, 3))
        x = x.contiguous(memory_format=torch.channels_last_3d)
        time, *space = self.kernel_size
        if self.layout == "folded" and time == 1 and self.stride[0] == 1:
            return self._over_space(x)
        if self.layout == "folded" and space == [1, 1] and self.stride == (1, 1, 1) and self.is_faster_over_time(x):
            return self._over_time(x)
        return self.convolve(x, slice(0, 3))

    def is_faster_plain(self, x: Tensor) -> bool:
        """Return whether `x` is convolved fastest in the plain layout."""
        over_space = self.kernel_size[0] == 1 and self.kernel_size != (1, 1, 1)
        return x.device.type == "cpu" and over_space and self.in_channels // self.groups >= WIDE

    def is_faster_over_time(self, x: Tensor) -> bool:
        """Return whether a 2D convolution over time beats torch's 3D one, which oneDNN runs with several threads."""
        return (
            x.device.type != "cpu" or self.groups > 1 or torch.compiler.is_compiling() or torch.get_num_threads() == 1
        )

    def convolve(self, x: Tensor, axes: slice) -> Tensor:
        """Convolve over these axes of (T, H, W); the kernel has size 1 on the remaining one."""
        weight = self.weight.reshape(*self.weight.shape[:2], *self.kernel_size[axes])
        convolve = F.conv3d if weight.ndim == 5 else F.conv2d
        return convolve(x, weight, self.bias, self.stride[axes], self.padding[axes], groups=self.groups)

    def _over_space(self, x: Tensor) -> Tensor:
        frames = x.transpose(1, 2).flatten(0, 1)  # (N*T, C, H, W)
        out = self.convolve(frames, slice(1, 3))
        return out.view(x.shape[0], x.shape[2], *out.shape[1:]).transpose(1, 2)

    def _over_time(self, x: Tensor) -> Tensor:
        out = self.convolve(x.flatten(3), slice(0, 2))  # (N, C, T, H*W)
        return out.view(*out.shape[:3], *x.shape[3:])
