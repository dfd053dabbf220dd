"""Video Swin: attention within windows of 8x7x7 tokens, shifted by half a window in every second block.

Liu et al., "Video Swin Transformer", CVPR 2022. Borders, and maps smaller than a window, are handled as in torchvision.
Stochastic depth, used in its training, is not implemented.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdpn_core.config.families import LEVELS, Family, Level, Published
from tdpn_core.config.family_settings import SwinConfig
from tdpn_core.model.base import Network, classifier
from tdpn_core.model.layers import Backbone
from tdpn_core.model.resnet import scaled
from tdpn_core.model.transformer import PreNormBlock, initialise_linears, pad_to_patches

Size = tuple[int, int, int]

PATCH: Size = (2, 4, 4)
WINDOW: Size = (8, 7, 7)
FORMS: dict[str, tuple[int, int, tuple[int, int, int, int]]] = {
    "tiny": (96, 3, (2, 2, 6, 2)),
    "small": (96, 3, (2, 2, 18, 2)),
    "base": (128, 4, (2, 2, 18, 2)),
}
"""Channels and heads of res2, which double at each further level, and the number of blocks of each level."""

HIDDEN = -100.0
"""Added to the attention logits of tokens that share a window only because the map was rolled."""


class WindowAttention(nn.Module):
    """Self-attention within windows, with a trained bias for each head and relative position."""

    def __init__(self, channels: int, heads: int, *, shifted: bool):
        super().__init__()
        self.heads, self.shifted = heads, shifted
        distances = math.prod(2 * side - 1 for side in WINDOW)
        self.relative_position_bias_table = nn.Parameter(torch.empty(distances, heads))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, H, W, C) to the same shape; windows and shifts are limited to the size of the map."""
        T, H, W = size = (x.shape[1], x.shape[2], x.shape[3])
        window: Size = (min(WINDOW[0], T), min(WINDOW[1], H), min(WINDOW[2], W))
        inside = [self.shifted and side > limit for side, limit in zip(size, WINDOW, strict=True)]
        shift = [side // 2 if moved else 0 for side, moved in zip(window, inside, strict=True)]
        lacking = [-side % step for side, step in zip(size, window, strict=True)]
        x = F.pad(x, (0, 0, 0, lacking[2], 0, lacking[1], 0, lacking[0]))
        padded: Size = (x.shape[1], x.shape[2], x.shape[3])
        if any(shift):
            x = x.roll([-step for step in shift], (1, 2, 3))
        bias = self._bias(math.prod(window))
        if any(shift):
            mask = _apart(padded, window, shift, x.device)
            bias = bias + HIDDEN * mask[:, None].to(bias.dtype)
        x = _merged(self._attend(_split(x, window), bias), padded, window)
        if any(shift):
            x = x.roll(shift, (1, 2, 3))
        return x[:, :T, :H, :W]

    def _attend(self, windows: Tensor, bias: Tensor) -> Tensor:
        """Map (N, windows, tokens, C) to the same shape; `bias` is ([windows,] heads, tokens, tokens)."""
        q, k, v = self.qkv(windows).unflatten(-1, (3, self.heads, -1)).permute(3, 0, 1, 4, 2, 5)
        logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + bias
        out: Tensor = self.proj((logits.softmax(-1) @ v).transpose(2, 3).flatten(3))
        return out

    def _bias(self, tokens: int) -> Tensor:
        """Return the bias, (heads, tokens, tokens); a smaller window uses the first `tokens` tokens of a full one."""
        index = _distances(tokens, self.relative_position_bias_table.device)
        return self.relative_position_bias_table[index].permute(2, 0, 1)


def _block(channels: int, heads: int, *, shifted: bool) -> PreNormBlock:
    return PreNormBlock(channels, WindowAttention(channels, heads, shifted=shifted))


class Merge(nn.Module):
    """Patch merging: combine 2 x 2 positions into one with twice the channels."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, H, W, C) to (N, T, H/2, W/2, 2 C), sizes rounded up."""
        x = F.pad(x, (0, 0, 0, x.shape[3] % 2, 0, x.shape[2] % 2))
        corners = [x[:, :, row::2, column::2] for row, column in ((0, 0), (1, 0), (0, 1), (1, 1))]
        out: Tensor = self.reduction(self.norm(torch.cat(corners, -1)))
        return out


class PatchEmbed(nn.Module):
    """Patch embedding: one token for each 2x4x4 pixels."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.proj = nn.Conv3d(in_channels, channels, PATCH, PATCH)
        self.norm = nn.LayerNorm(channels)

    def forward(self, frames: Tensor) -> Tensor:
        """Map (N, in_channels, T, H, W) to (N, T/2, H/4, W/4, C), sizes rounded up."""
        out: Tensor = self.norm(self.proj(pad_to_patches(frames, PATCH)).movedim(1, -1))
        return out


class SwinBackbone(Backbone):
    """Backbone with levels res2..res5, (N, C, T/2, H/4, W/4) .. (N, 8 C, T/2, H/32, W/32)."""

    def __init__(self, config: SwinConfig):
        super().__init__()
        lowest, heads, counts = FORMS[config.arch]
        lowest = scaled(lowest, config.width, 8 * heads)
        self.patch_embed = PatchEmbed(config.channels, lowest)
        self.channels = {level: lowest << number for number, level in enumerate(LEVELS)}
        for number, (level, count) in enumerate(zip(LEVELS, counts, strict=True)):
            if number:
                self.add_module(f"merge{number + 1}", Merge(self.channels[level] // 2))
            blocks = (_block(self.channels[level], heads << number, shifted=block % 2 == 1) for block in range(count))
            self.add_module(f"layer{number + 1}", nn.Sequential(*blocks))
        self.norm = nn.LayerNorm(self.channels["res5"])
        initialise_linears(self)

    def forward(self, frames: Tensor) -> dict[Level, Tensor]:
        """Return the four levels for frames (N, C, T, H, W); res5 is normalised."""
        x, levels = self.patch_embed(frames), dict[Level, Tensor]()
        for number, level in enumerate(LEVELS, start=1):
            x = self.get_submodule(f"layer{number}")(self.get_submodule(f"merge{number}")(x) if number > 1 else x)
            levels[level] = (self.norm(x) if level == "res5" else x).movedim(-1, 1)
        return levels

    def stages(self) -> dict[str, list[nn.Module]]:
        """Return the embedding as stem, and for each level its patch merging and its blocks."""
        found: dict[str, list[nn.Module]] = {"stem": [self.patch_embed], "res2": [self.get_submodule("layer1")]}
        for number, level in enumerate(LEVELS[1:], start=2):
            found[level] = [self.get_submodule(f"merge{number}"), self.get_submodule(f"layer{number}")]
        found["res5"].append(self.norm)
        return found


def _split(x: Tensor, window: Size) -> Tensor:
    """Split (N, T, H, W, C) into windows (N, windows, tokens, C)."""
    N, T, H, W, C = x.shape
    t, h, w = window
    x = x.reshape(N, T // t, t, H // h, h, W // w, w, C).permute(0, 1, 3, 5, 2, 4, 6, 7)
    return x.reshape(N, -1, t * h * w, C)


def _merged(x: Tensor, size: Size, window: Size) -> Tensor:
    """Invert `_split`."""
    (T, H, W), (t, h, w) = size, window
    x = x.reshape(x.shape[0], T // t, H // h, W // w, t, h, w, x.shape[-1]).permute(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(x.shape[0], T, H, W, x.shape[-1])


def _distances(tokens: int, device: torch.device) -> Tensor:
    """Return the row of the bias table for each pair of a full window's first tokens, (tokens, tokens)."""
    places = torch.cartesian_prod(*(torch.arange(side, device=device) for side in WINDOW))[:tokens]
    _, rows, columns = (2 * side - 1 for side in WINDOW)
    steps = (rows * columns, columns, 1)
    along = places[:, 0] * steps[0] + places[:, 1] * steps[1] + places[:, 2] * steps[2]
    return along[:, None] - along[None] + sum((side - 1) * step for side, step in zip(WINDOW, steps, strict=True))


def _apart(size: Size, window: Size, shift: Sequence[int], device: torch.device) -> Tensor:
    """Return whether two tokens of a rolled map come from different sides of it, (windows, tokens, tokens)."""
    regions = torch.zeros(size, dtype=torch.int64, device=device)
    for axis, (length, side, step) in enumerate(zip(size, window, shift, strict=True)):
        if step:
            places = torch.arange(length, device=device)
            region = (places >= length - side).long() + (places >= length - step).long()
            regions = 3 * regions + region.view([-1 if other == axis else 1 for other in range(3)])
    split = _split(regions[None, ..., None], window)[0, :, :, 0]
    return split[:, :, None] != split[:, None, :]


def _swin(config: SwinConfig) -> Network:
    return classifier(config, SwinBackbone(config))


SWIN_FAMILY = Family(
    title="Video Swin Transformer (Liu et al., 2022)",
    config=SwinConfig,
    build=_swin,
    published=(
        Published(arch="tiny", clip="32x2", data="Kinetics-400", top1=77.72, source="torchvision"),
        Published(arch="small", clip="32x2", data="Kinetics-400", top1=79.52, source="torchvision"),
        Published(arch="base", clip="32x2", data="Kinetics-400", top1=79.43, source="torchvision"),
        Published(
            arch="base", clip="32x2", data="Kinetics-400", top1=81.64, source="torchvision", note="from ImageNet-22K"
        ),
    ),
)
