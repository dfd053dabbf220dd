"""MViTv2: attention whose queries, keys and values are pooled, with relative positions over time, rows and columns.

Li et al., "MViTv2: Improved Multiscale Vision Transformers for Classification and Detection", CVPR 2022; details follow
torchvision. Stochastic depth, used in its training, is not implemented.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdpn_core.config.families import LEVELS, Family, Level, Published
from tdpn_core.config.family_settings import MViTConfig
from tdpn_core.model.base import Network, classifier
from tdpn_core.model.layers import Backbone
from tdpn_core.model.resnet import scaled
from tdpn_core.model.transformer import initialise_linears

Size = tuple[int, int, int]

PATCH: Size = (2, 4, 4)
STEPS, SIDE = 8, 56
"""Time steps, and rows and columns, of the tokens of a published clip, 16x224x224."""

HEAD = 96
"""Channels of each head."""

FORMS: dict[str, tuple[int, int, int, int]] = {"small": (1, 2, 11, 2)}
"""Number of blocks of each level."""

EPSILON = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """Channels and strides of a block."""

    channels: int
    out_channels: int
    heads: int
    query_stride: int
    """In space, of queries; 1 or 2."""

    key_stride: int
    """In space, of keys and values."""

    side: int
    """Rows and columns of the block's input for a published clip."""


class Pool(nn.Module):
    """A strided depthwise convolution of the tokens, and normalisation of these and the class token."""

    def __init__(self, channels: int, stride: int):
        super().__init__()
        self.pool = nn.Conv3d(channels, channels, 3, stride=(1, stride, stride), padding=1, groups=channels, bias=False)
        self.norm = nn.LayerNorm(channels, eps=EPSILON)

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """Map (N, heads, 1 + T H W, C) with tokens of `size` (T, H, W) to those of `strided` size."""
        token, rest = x[:, :, :1], x[:, :, 1:]
        maps = rest.flatten(0, 1).transpose(1, 2).unflatten(2, size)
        pooled = self.pool(maps).flatten(2).transpose(1, 2).unflatten(0, x.shape[:2])
        out: Tensor = self.norm(torch.cat([token, pooled], 2))
        return out


class PooledAttention(nn.Module):
    """Self-attention of pooled tokens, to which the pooled queries are added (except the class token's)."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        width = shape.out_channels // shape.heads
        self.qkv = nn.Linear(shape.channels, 3 * shape.out_channels)
        self.project = nn.Linear(shape.out_channels, shape.out_channels)
        self.pool_q = Pool(width, shape.query_stride)
        self.pool_k = Pool(width, shape.key_stride)
        self.pool_v = Pool(width, shape.key_stride)
        rows = 2 * shape.side // min(shape.query_stride, shape.key_stride) - 1
        self.rel_pos_t = nn.Parameter(torch.empty(2 * STEPS - 1, width))
        self.rel_pos_h = nn.Parameter(torch.empty(rows, width))
        self.rel_pos_w = nn.Parameter(torch.empty(rows, width))
        for table in (self.rel_pos_t, self.rel_pos_h, self.rel_pos_w):
            nn.init.trunc_normal_(table, std=0.02)

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """Map (N, 1 + T H W, C) with tokens of `size` (T, H, W) to those of `strided` size with `out_channels`."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.shape.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = self.pool_q(q, size), self.pool_k(k, size), self.pool_v(v, size)
        q_size, k_size = strided(size, self.shape.query_stride), strided(size, self.shape.key_stride)
        bias = F.pad(self._positions(q[:, :, 1:], q_size, k_size), (1, 0, 1, 0))  # zero for the class token
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        out = torch.cat([out[:, :, :1], out[:, :, 1:] + q[:, :, 1:]], 2)
        projected: Tensor = self.project(out.transpose(1, 2).flatten(2))
        return projected

    def _positions(self, q: Tensor, q_size: Size, k_size: Size) -> Tensor:
        """Return q·r for every pair, r = R_t[dt] + R_h[dy] + R_w[dx]: (N, heads, queries, keys)."""
        q = q.unflatten(2, q_size)
        tables = (self.rel_pos_t, self.rel_pos_h, self.rel_pos_w)
        t, h, w = (relative(*both) for both in zip(tables, q_size, k_size, strict=True))
        over_t = torch.einsum("nbtyxd,tkd->nbtyxk", q, t)[..., :, None, None]
        over_h = torch.einsum("nbtyxd,ykd->nbtyxk", q, h)[..., None, :, None]
        over_w = torch.einsum("nbtyxd,xkd->nbtyxk", q, w)[..., None, None, :]
        return (over_t + over_h + over_w).flatten(5).flatten(2, 4)


class MViTBlock(nn.Module):
    """Pooled attention and an MLP; the attention changes channels and size, and so does the shortcut around it."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.stride = shape.query_stride
        self.norm1 = nn.LayerNorm(shape.channels, eps=EPSILON)
        self.attn = PooledAttention(shape)
        self.norm2 = nn.LayerNorm(shape.out_channels, eps=EPSILON)
        hidden = 4 * shape.out_channels
        self.mlp = nn.Sequential(
            nn.Linear(shape.out_channels, hidden), nn.GELU(), nn.Linear(hidden, shape.out_channels)
        )
        widens = shape.channels != shape.out_channels
        self.project = nn.Linear(shape.channels, shape.out_channels) if widens else None

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """Map (N, 1 + T H W, C) with tokens of `size` (T, H, W) to those of `strided` size."""
        normed = self.norm1(x)
        x = self._shortcut(x if self.project is None else self.project(normed), size) + self.attn(normed, size)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out

    def _shortcut(self, x: Tensor, size: Size) -> Tensor:
        """Max-pool the tokens as the queries are pooled."""
        if self.stride == 1:
            return x
        maps = x[:, 1:].transpose(1, 2).unflatten(2, size)
        kernel, stride, padding = (1, self.stride + 1, self.stride + 1), (1, self.stride, self.stride), (0, 1, 1)
        return torch.cat([x[:, :1], F.max_pool3d(maps, kernel, stride, padding).flatten(2).transpose(1, 2)], 1)


class Embed(nn.Module):
    """Overlapping patches as tokens, after a trained class token."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.proj = nn.Conv3d(in_channels, channels, (3, 7, 7), PATCH, (1, 3, 3))
        self.class_token = nn.Parameter(torch.empty(channels))
        nn.init.trunc_normal_(self.class_token, std=0.02)

    def forward(self, frames: Tensor) -> Tensor:
        """Map (N, in_channels, T, H, W) to (N, 1 + T/2 H/4 W/4, C), sizes rounded up."""
        tokens = self.proj(frames).flatten(2).transpose(1, 2)
        return torch.cat([self.class_token.expand(tokens.shape[0], 1, -1), tokens], 1)


class TokenLevels(dict[Level, Tensor]):
    """The four levels, with the class token of the last."""

    token: Tensor
    """(N, C, 1, 1, 1)."""


class MViTBackbone(Backbone):
    """Backbone with levels res2..res5, (N, C, T/2, H/4, W/4) .. (N, 8 C, T/2, H/32, W/32), and a class token."""

    def __init__(self, config: MViTConfig):
        super().__init__()
        width = scaled(HEAD, config.width, 8)
        self.channels = {level: width << number for number, level in enumerate(LEVELS)}
        self.patch_embed = Embed(config.channels, width)
        for number, level in enumerate(LEVELS):
            blocks = (MViTBlock(shape) for shape in _shapes(number, FORMS[config.arch][number], self.channels[level]))
            self.add_module(f"layer{number + 1}", nn.ModuleList(blocks))
        self.norm = nn.LayerNorm(self.channels["res5"], eps=EPSILON)
        initialise_linears(self)

    def forward(self, frames: Tensor) -> TokenLevels:
        """Return the four levels for frames (N, C, T, H, W), and the normalised class token."""
        x, levels = self.patch_embed(frames), TokenLevels()
        t, h, w = (-(-side // step) for side, step in zip(frames.shape[2:], PATCH, strict=True))
        for number, level in enumerate(LEVELS, start=1):
            for block in self.get_submodule(f"layer{number}").children():
                assert isinstance(block, MViTBlock)
                x = block(x, (t, h, w))
                t, h, w = strided((t, h, w), block.stride)
            levels[level] = x[:, 1:].transpose(1, 2).unflatten(2, (t, h, w))
        levels.token = self.norm(x[:, 0])[:, :, None, None, None]
        return levels

    def top(self, levels: dict[Level, Tensor]) -> Tensor:
        """Return the class token as a 1 x 1 x 1 map."""
        assert isinstance(levels, TokenLevels)
        return levels.token

    def stages(self) -> dict[str, list[nn.Module]]:
        """Return the embedding as stem, and the blocks of each level."""
        found: dict[str, list[nn.Module]] = {"stem": [self.patch_embed]}
        for number, level in enumerate(LEVELS, start=1):
            found[level] = [self.get_submodule(f"layer{number}")]
        found["res5"].append(self.norm)
        return found


def strided(size: Size, stride: int) -> Size:
    """Return the size (T, H, W) after a stride in space, rounded up."""
    return size[0], -(-size[1] // stride), -(-size[2] // stride)


def relative(table: Tensor, queries: int, keys: int) -> Tensor:
    """Return the row of `table` for each pair of positions along one axis, (queries, keys, C).

    The table has a row for each distance of a published clip; at other sizes it is interpolated. Positions of the
    coarser axis are spread over the finer one.
    """
    rows = 2 * max(queries, keys) - 1
    if rows != len(table):
        table = F.interpolate(table.T[None], rows, mode="linear")[0].T
    q_step, k_step = max(keys / queries, 1), max(queries / keys, 1)
    at = torch.arange(queries, device=table.device)[:, None] * q_step
    return table[(at - (torch.arange(keys, device=table.device) + 1 - keys) * k_step).long()]


def _shapes(number: int, count: int, channels: int) -> Iterator[Shape]:
    """Yield the shapes of the blocks of a level; its first block widens and strides, except at the first level."""
    for block in range(count):
        enters = number > 0 and block == 0
        yield Shape(
            channels=channels // 2 if enters else channels,
            out_channels=channels,
            heads=1 << number,
            query_stride=2 if enters else 1,
            key_stride=8 >> number,
            side=SIDE >> (number - enters),
        )


def _mvit(config: MViTConfig) -> Network:
    return classifier(config, MViTBackbone(config))


MVIT_FAMILY = Family(
    title="MViTv2 (Li et al., 2022)",
    config=MViTConfig,
    build=_mvit,
    published=(Published(arch="small", clip="16x4", data="Kinetics-400", top1=80.76, source="torchvision"),),
)
