"""VideoMAE's classifier: a vision transformer on tubes of 2x16x16 pixels, with fixed positions and no class token.

Tong et al., "VideoMAE: Masked Autoencoders are Data-Efficient Learners for Self-Supervised Video Pre-Training", NeurIPS
2022; details follow the transformers package. The self-supervised pre-training is not implemented.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdpn_core.config.families import LEVELS, Family, Level, Published
from tdpn_core.config.family_settings import VideoMAEConfig
from tdpn_core.model.base import Network, classifier
from tdpn_core.model.layers import Backbone
from tdpn_core.model.resnet import scaled
from tdpn_core.model.transformer import PreNormBlock, initialise_linears, pad_to_patches

PATCH = (2, 16, 16)
FORMS: dict[str, tuple[int, int, int]] = {"small": (384, 6, 12), "base": (768, 12, 12), "large": (1024, 16, 24)}
"""Channels, heads and blocks."""

EPSILON = 1e-12
"""Of the blocks' normalisations; the last one has torch's default."""


class GlobalAttention(nn.Module):
    """Self-attention of all tokens. Keys have no bias: it would not change the result."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, tokens, C) to the same shape."""
        q, k, v = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        out: Tensor = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return out


class Tubes(nn.Module):
    """One token for each 2x16x16 pixels, with its position."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.proj = nn.Conv3d(in_channels, channels, PATCH, PATCH)

    def forward(self, frames: Tensor) -> Tensor:
        """Map (N, in_channels, T, H, W) to (N, C, T/2, H/16, W/16), sizes rounded up."""
        x: Tensor = self.proj(pad_to_patches(frames, PATCH))
        places = positions(x.shape[2:].numel(), x.shape[1], x.device)
        out: Tensor = x + places.T.unflatten(1, x.shape[2:]).to(x.dtype)
        return out


class VideoMAEBackbone(Backbone):
    """A quarter of the blocks each as res2..res5, all (N, C, T/2, H/16, W/16)."""

    def __init__(self, config: VideoMAEConfig):
        super().__init__()
        channels, heads, blocks = FORMS[config.arch]
        channels = scaled(channels, config.width, 8 * heads)
        self.channels = dict.fromkeys(LEVELS, channels)
        self.patch_embed = Tubes(config.channels, channels)
        for number in range(1, 5):
            attentions = (GlobalAttention(channels, heads) for _ in range(blocks // 4))
            layer = nn.Sequential(*(PreNormBlock(channels, part, epsilon=EPSILON) for part in attentions))
            self.add_module(f"layer{number}", layer)
        self.norm = nn.LayerNorm(channels)
        initialise_linears(self)

    def forward(self, frames: Tensor) -> dict[Level, Tensor]:
        """Return the four levels for frames (N, C, T, H, W)."""
        maps, levels = self.patch_embed(frames), dict[Level, Tensor]()
        size, x = maps.shape[2:], maps.flatten(2).transpose(1, 2)
        for number, level in enumerate(LEVELS, start=1):
            x = self.get_submodule(f"layer{number}")(x)
            levels[level] = x.transpose(1, 2).unflatten(2, size)
        return levels

    def top(self, levels: dict[Level, Tensor]) -> Tensor:
        """Return the normalised average of all tokens as a 1 x 1 x 1 map."""
        out: Tensor = self.norm(levels["res5"].mean((2, 3, 4)))
        return out[:, :, None, None, None]

    def stages(self) -> dict[str, list[nn.Module]]:
        """Return the embedding as stem, and the blocks of each level."""
        found: dict[str, list[nn.Module]] = {"stem": [self.patch_embed]}
        for number, level in enumerate(LEVELS, start=1):
            found[level] = [self.get_submodule(f"layer{number}")]
        found["res5"].append(self.norm)
        return found


def positions(tokens: int, channels: int, device: torch.device) -> Tensor:
    """Return the positions (tokens, channels), in double precision as in the original.

    Channels 2j and 2j+1 are sine and cosine of n / 10000^(2j / channels) for the n-th token, counted over columns, rows
    and time steps.
    """
    pairs = torch.arange(0, channels, 2, device=device, dtype=torch.float64)
    number = torch.arange(tokens, device=device, dtype=torch.float64)
    angles = number[:, None] / 10000 ** (pairs / channels)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


def _videomae(config: VideoMAEConfig) -> Network:
    return classifier(config, VideoMAEBackbone(config))


VIDEOMAE_FAMILY = Family(
    title="VideoMAE (Tong et al., 2022)",
    config=VideoMAEConfig,
    build=_videomae,
    published=(
        Published(
            arch="base", clip="16x4", data="Kinetics-400", top1=80.9, top5=94.7, source="Hugging Face model card"
        ),
    ),
)
