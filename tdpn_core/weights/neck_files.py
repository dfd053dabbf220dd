"""Parts of networks that come in files of their own: necks, and attention layers and blocks as in BoTNet."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from tdpn_core.config.families import LEVELS, Level
from tdpn_core.errors import UsageError
from tdpn_core.model.attention import Attention
from tdpn_core.model.heads import AuxiliaryHead
from tdpn_core.model.layers import FRAME, Conv, ConvNorm
from tdpn_core.model.pyramid import Pyramid
from tdpn_core.weights.project import Entries
from tdpn_core.weights.projects import mmaction2, tpn
from tdpn_core.weights.rename_rules import Rename, Rule

HEADS = 4
"""Default number of heads in both attention implementations; no shape in the file determines it."""


class Neck(nn.Module):
    """A pyramid without its backbone, with the auxiliary classifier used in training."""

    def __init__(self, pyramid: Pyramid, auxiliary_head: AuxiliaryHead | None) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.auxiliary_head = auxiliary_head

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Fuse feature maps (N, C, T, H, W) of each level, low to high, into one.

        Raises:
            UsageError: wrong number of levels.
        """
        if len(levels) != len(self.pyramid.levels):
            raise UsageError(f"this neck takes {len(self.pyramid.levels)} levels, not {len(levels)}")
        fused: Tensor = self.pyramid(dict(zip(self.pyramid.levels, levels, strict=True)))
        return fused


class AttentionBlock(nn.Module):
    """Residual block of lucidrains; a strided shortcut is a 3x3 convolution followed by ReLU."""

    def __init__(self, channels: int, attention: Attention, inner: int, out_channels: int, *, downsample: bool) -> None:
        super().__init__()
        self.conv1 = ConvNorm(channels, inner)
        self.conv2 = attention
        self.bn2 = nn.BatchNorm3d(attention.parts[2])
        self.conv3 = Conv(attention.parts[2], out_channels)
        self.bn3 = nn.BatchNorm3d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = ConvNorm(channels, out_channels, FRAME, stride=2) if downsample else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, T, H, W) to (N, out_channels, T, H', W')."""
        out = self.relu(self.bn2(self.conv2(self.conv1(x))))
        joined: Tensor = self.relu(self.bn3(self.conv3(out)) + self.downsample(x))
        return joined


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """One kind of part: how to recognise its file and how to build it."""

    name: str
    marks: tuple[str, ...]
    build: Callable[..., tuple[nn.Module, tuple[Rule, ...]]]
    """Builds the module and its rename rules from the entries, and settings that no shape determines."""

    of_frames: bool = True
    """Whether the project passes frames (N, C, H, W) to it rather than clips."""

    def recognises(self, entries: Entries) -> bool:
        """Return whether a file with these entries is such a part."""
        return all(entries.has(mark) for mark in self.marks)


def neck(
    entries: Entries, examine: Callable[..., Any], aux: str, **settings: Any
) -> tuple[nn.Module, tuple[Rule, ...]]:
    """Build a pyramid; `settings` can be `num_frames`, `flow` and `temporal_rates`."""
    found, rules = examine(entries, "")
    levels: tuple[Level, ...] = found["levels"]
    width, grouped = entries.shape(f"temporal_modulation_ops.0.{'conv.' if aux == 'conv' else ''}conv.weight")[:2]
    top = grouped * 32
    channels = {level: top >> (len(LEVELS) - 1 - LEVELS.index(level)) for level in LEVELS}
    pyramid = Pyramid(channels, levels=levels, width=width, **{"num_frames": 8, **settings})
    auxiliary = None
    if found["auxiliary_head"]:
        hidden, below = entries.shape(f"aux_head.{aux}.conv.weight")[:2]
        auxiliary = AuxiliaryHead(below, hidden, {"action": entries.shape("aux_head.fc.weight")[0]}, 0.5)
    return Neck(pyramid, auxiliary), rules


def official_neck(entries: Entries, **settings: Any) -> tuple[nn.Module, tuple[Rule, ...]]:
    """Build the neck of decisionforce/TPN."""
    return neck(entries, tpn.examine_neck, "convs", **settings)


def mmaction2_neck(entries: Entries, **settings: Any) -> tuple[nn.Module, tuple[Rule, ...]]:
    """Build the neck of mmaction2."""
    return neck(entries, mmaction2.examine_neck, "conv", **settings)


def lucidrains_attention(
    entries: Entries, prefix: str = "", *, heads: int = HEADS, stride: int = 1
) -> tuple[Attention, tuple[Rename, ...]]:
    """Build lucidrains' attention layer, whose values are as wide as its queries."""
    p = prefix.replace(".", r"\.")
    absolute = entries.has(rf"{p}pos_emb\.height")
    names = ("height", "width") if absolute else ("rel_height", "rel_width")
    rows, width = entries.shape(f"{prefix}pos_emb.{names[0]}")
    columns = entries.shape(f"{prefix}pos_emb.{names[1]}")[0]
    size = (rows, columns) if absolute else (rows // 2 + 1, columns // 2 + 1)
    channels = entries.shape(f"{prefix}to_qkv.weight")[1]
    attention = Attention(
        channels, size, stride=stride, heads=heads, width=width, out_channels=heads * width, absolute=absolute
    )
    rules = (
        Rename(rf"{p}to_qkv\.weight", "qkv.weight"),
        Rename(rf"{p}pos_emb\.(?:rel_)?(height|width)", r"rel_\1"),
    )
    return attention, rules


def lucidrains_layer(entries: Entries, **settings: Any) -> tuple[nn.Module, tuple[Rule, ...]]:
    """Build the layer alone."""
    attention, rules = lucidrains_attention(entries, **settings)
    return attention, rules


def lucidrains_block(entries: Entries, **settings: Any) -> tuple[nn.Module, tuple[Rule, ...]]:
    """Build the layer in its residual block."""
    downsample = entries.has(r"shortcut\..+")
    attention, rules = lucidrains_attention(entries, "net.3.", stride=2 if downsample else 1, **settings)
    inner, channels = entries.shape("net.0.weight")[:2]
    block = AttentionBlock(channels, attention, inner, entries.shape("net.7.weight")[0], downsample=downsample)
    places = {"net.0": "conv1.conv", "net.1": "conv1.bn", "net.5": "bn2", "net.7": "conv3", "net.8": "bn3"}
    places |= {"shortcut.0": "downsample.conv", "shortcut.1": "downsample.bn"}
    others = tuple(Rename(theirs.replace(".", r"\.") + r"\.(.+)", rf"{ours}.\1") for theirs, ours in places.items())
    inside = (dataclasses.replace(rule, name=f"conv2.{rule.name}") for rule in rules)
    return block, (*inside, *others)


def timm_layer(
    entries: Entries, *, heads: int = HEADS, stride: int | None = None, scaled_positions: bool = False
) -> tuple[nn.Module, tuple[Rule, ...]]:
    """Build timm's `BottleneckAttn`; a layer that widens its input is assumed to have stride 2."""
    rows, width = entries.shape("pos_embed.height_rel")
    columns = entries.shape("pos_embed.width_rel")[0]
    total, channels = entries.shape("qkv.weight")[:2]
    out_channels = total - 2 * heads * width
    attention = Attention(
        channels,
        (rows // 2 + 1, columns // 2 + 1),
        stride=(2 if out_channels > channels else 1) if stride is None else stride,
        heads=heads,
        width=width,
        out_channels=out_channels,
        bias="qkv.bias" in entries.tensors,
        scaled_positions=scaled_positions,
    )
    rules = (
        Rename(r"qkv\.weight", "qkv.weight"),
        Rename(r"qkv\.bias", "bias"),
        Rename(r"pos_embed\.(height|width)_rel", r"rel_\1"),
    )
    return attention, rules


PARTS: tuple[Part, ...] = (
    Part(
        name="decisionforce/TPN's neck",
        marks=(r"temporal_modulation_ops\.0\.conv\.weight", r"pyramid_fusion_op\.0\.weight"),
        build=official_neck,
        of_frames=False,
    ),
    Part(
        name="mmaction2's TPN neck",
        marks=(r"temporal_modulation_ops\.0\.conv\.conv\.weight", r"pyramid_fusion\.conv\.weight"),
        build=mmaction2_neck,
        of_frames=False,
    ),
    Part(name="lucidrains' attention", marks=(r"to_qkv\.weight", r"pos_emb\.(rel_)?height"), build=lucidrains_layer),
    Part(name="lucidrains' block", marks=(r"net\.3\.to_qkv\.weight", r"net\.8\.running_var"), build=lucidrains_block),
    Part(name="timm's attention", marks=(r"qkv\.weight", r"pos_embed\.height_rel"), build=timm_layer),
)
