"""Which memory layout the activations have: decided here, by measurement (`benchmarks/layout.py`), and nowhere else.

- `plain`: (N, C, T, H, W) as it stands.
- `channels_last`: the same tensors with the channels innermost in memory.
- `folded`: channels innermost, and every convolution that acts on space only, or on time only, runs as a 2D
  convolution: of N*T frames, or of N images of T x (H*W). Both foldings are views of a channels-last tensor.

Only activations change: parameters, and so checkpoints and optimiser states, are the same in all three.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Layout = Literal["plain", "channels_last", "folded"]

DECISION: dict[tuple[str, bool], Layout] = {
    ("cpu", False): "folded",
    ("cpu", True): "channels_last",
}
"""(device type, training) -> the fastest layout measured; `plain` for what is not listed."""


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


class FoldingConv(nn.Conv3d):
    """A 3D convolution, padded by half its kernel, that first brings its input into `layout`.

    What follows a convolution inherits its layout.
    """

    layout: Layout = "plain"

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to (N, C', T', H', W')."""
        plain = self.layout == "plain"
        x = x.contiguous(memory_format=torch.contiguous_format if plain else torch.channels_last_3d)
        time, *space = self.kernel_size
        if self.layout == "folded" and time == 1 and self.stride[0] == 1:
            return self._over_space(x)
        if self.layout == "folded" and space == [1, 1] and self.stride == (1, 1, 1):
            return self._over_time(x)
        return super().forward(x)

    def _pad(self, axis: int) -> int:
        return self.kernel_size[axis] // 2

    def _over_space(self, x: Tensor) -> Tensor:
        frames = x.transpose(1, 2).flatten(0, 1)  # (N*T, C, H, W)
        padding = (self._pad(1), self._pad(2))
        out = F.conv2d(frames, self.weight.squeeze(2), self.bias, self.stride[1:], padding, groups=self.groups)
        return out.view(x.shape[0], x.shape[2], *out.shape[1:]).transpose(1, 2)

    def _over_time(self, x: Tensor) -> Tensor:
        images = x.flatten(3)  # (N, C, T, H*W)
        out = F.conv2d(images, self.weight.squeeze(4), self.bias, 1, (self._pad(0), 0), groups=self.groups)
        return out.view(*out.shape[:3], *x.shape[3:])
