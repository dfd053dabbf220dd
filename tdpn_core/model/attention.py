"""Self-attention over the positions of a frame, with relative positions.

Srinivas et al., "Bottleneck Transformers for Visual Recognition" (BoTNet), CVPR 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tdpn_core.config.family_settings import PositionResize
from tdpn_core.errors import UsageError
from tdpn_core.model.layers import Conv, halve


class Attention(nn.Module):
    """Multi-head attention within each frame, replacing a 1x3x3 convolution with as many channels.

    logits = (q·k + q·r) / sqrt(d) with r = R_h[dy] + R_w[dx] and (dy, dx) = key - query; d = channels / heads, and the
    tables R of shape (2L-1, d) are shared by the heads. There is no output projection. Options for weights of other
    implementations: other `out_channels`, a width d of queries and keys, a `bias`, tables (L, d) of the key's position
    (`absolute`), or q·r without division by the root of d (`scaled_positions` false).
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        *,
        stride: int = 1,
        heads: int = 4,
        position_resize: PositionResize = "clamp",
        out_channels: int | None = None,
        width: int | None = None,
        bias: bool = False,
        absolute: bool = False,
        scaled_positions: bool = True,
    ):
        """`size` (H, W) is the training size of the map; a `stride` of 2 averages the result over 2x2 positions."""
        super().__init__()
        self.heads = heads
        self.stride = stride
        self.position_resize = position_resize
        self.absolute = absolute
        self.scaled_positions = scaled_positions
        width = width or channels // heads
        self.parts = (heads * width, heads * width, out_channels or channels)
        self.scale = width**-0.5
        self.qkv = Conv(channels, sum(self.parts))
        self.bias = nn.Parameter(torch.zeros(sum(self.parts))) if bias else None
        rows, columns = (side if absolute else 2 * side - 1 for side in size)
        self.rel_height = nn.Parameter(torch.empty(rows, width))
        self.rel_width = nn.Parameter(torch.empty(columns, width))
        nn.init.normal_(self.qkv.weight, std=channels**-0.5)
        nn.init.normal_(self.rel_height, std=self.scale)
        nn.init.normal_(self.rel_width, std=self.scale)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to (N, out_channels, T, H/stride, W/stride)."""
        N, _, T, H, W = x.shape
        qkv: Tensor = self.qkv(x)
        # channels innermost, as in memory where the layout is channels-last: (N*T, H*W, channels)
        qkv = qkv.permute(0, 2, 3, 4, 1).reshape(N * T, H * W, -1)
        if self.bias is not None:
            qkv = qkv + self.bias
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in qkv.split(self.parts, -1))
        scaled = q * self.scale  # each (N*T, heads, H*W, d)
        logits = scaled @ k.transpose(-1, -2) + self._positions(scaled if self.scaled_positions else q, H, W)
        out = logits.softmax(-1) @ v
        out = out.transpose(1, 2).reshape(N, T, H, W, -1).permute(0, 4, 1, 2, 3)
        return halve(out) if self.stride == 2 else out

    def _positions(self, q: Tensor, H: int, W: int) -> Tensor:
        """Return q·r for every query and key: (N*T, heads, H*W, d) to (N*T, heads, H*W, H*W)."""
        q = q.reshape(*q.shape[:2], H, W, -1)
        rows = torch.einsum("nhyxd,ykd->nhyxk", q, self._table(self.rel_height, H))
        columns = torch.einsum("nhyxd,xkd->nhyxk", q, self._table(self.rel_width, W))
        return (rows[..., :, None] + columns[..., None, :]).flatten(4).flatten(2, 3)

    def _table(self, table: Tensor, size: int) -> Tensor:
        """Return (size, size, d): by key, the vectors that each query is multiplied with."""
        if not self.absolute:
            return relative(table, size, self.position_resize)
        if size != len(table):
            raise UsageError(
                f"absolute positions were made for {len(table)} positions per side, but the input has {size}"
            )
        return table.expand(size, -1, -1)


def relative(table: Tensor, size: int, resize: PositionResize) -> Tensor:
    """Return the rows R[key - query] of a table (2L-1, d) for `size` positions: (size, size, d).

    Raises:
        UsageError: `resize` is "error" and `size` is not the L that the table was made for.
    """
    reach = table.shape[0] // 2  # L - 1, the largest offset known
    position = torch.arange(size, device=table.device)
    offset = position[None, :] - position[:, None]
    if size == reach + 1 or resize == "clamp":
        return table[offset.clamp(-reach, reach) + reach]
    if resize == "interpolate":
        return _stretch(table, size)[offset + size - 1]
    raise UsageError(
        f"attention was made for {reach + 1} positions per side, but the input has {size}",
        hint="use the model's input size, or position_resize='clamp' or 'interpolate'",
    )


def _stretch(table: Tensor, size: int) -> Tensor:
    """Interpolate the table (2L-1, d) linearly to (2*size-1, d), with the ends and offset 0 unchanged."""
    reach = table.shape[0] // 2
    offset = torch.arange(1 - size, size, device=table.device, dtype=table.dtype)
    place = offset * (reach / max(size - 1, 1)) + reach
    low = place.floor().long().clamp(0, 2 * reach)
    high = (low + 1).clamp(max=2 * reach)
    return torch.lerp(table[low], table[high], (place - low)[:, None])
