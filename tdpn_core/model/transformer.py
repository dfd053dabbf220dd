"""Parts that video transformers share."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class PreNormBlock(nn.Module):
    """Attention and an MLP, both with pre-normalisation and a residual connection.

    Args:
        channels: C.
        attention: maps (N, ..., C) to the same shape.
        epsilon: of the normalisations.
    """

    def __init__(self, channels: int, attention: nn.Module, *, epsilon: float = 1e-5):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=epsilon)
        self.attn = attention
        self.norm2 = nn.LayerNorm(channels, eps=epsilon)
        self.mlp = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, ..., C) to the same shape."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


def initialise_linears(module: nn.Module) -> None:
    """Draw the weights of all linear layers from a truncated normal of 0.02, and set their biases to zero."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def pad_to_patches(frames: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """Append zeros to frames (N, C, T, H, W) up to whole patches of size (T, H, W)."""
    lacking = [-side % step for side, step in zip(frames.shape[2:], patch, strict=True)]
    return F.pad(frames, (0, lacking[2], 0, lacking[1], 0, lacking[0]))
