"""torchvision's MViTv2-S."""

from __future__ import annotations

from typing import Any

from tdpn_core.errors import CheckpointError
from tdpn_core.model.baselines.mvit import FORMS
from tdpn_core.weights.project import Entries, Finding, Project, refuse
from tdpn_core.weights.protocol import KINETICS, Protocol
from tdpn_core.weights.rename_rules import Rename, Rule


def _rules(counts: tuple[int, ...]) -> tuple[Rule, ...]:
    blocks = [
        rule
        for number in range(sum(counts))
        for rule in _block_rules(number, f"backbone.layer{_level(number, counts)}.{_place(number, counts)}")
    ]
    return (
        Rename(r"conv_proj\.(.+)", r"backbone.patch_embed.proj.\1"),
        Rename(r"pos_encoding\.(class_token)", r"backbone.patch_embed.\1"),
        Rename(r"norm\.(.+)", r"backbone.norm.\1"),
        Rename(r"head\.1\.(.+)", r"head.linear.action.\1"),
        *blocks,
    )


def _block_rules(number: int, place: str) -> tuple[Rule, ...]:
    return (
        Rename(rf"blocks\.{number}\.attn\.project\.0\.(.+)", rf"{place}.attn.project.\1"),
        Rename(rf"blocks\.{number}\.(attn\.pool_.)\.norm_act\.0\.(.+)", rf"{place}.\1.norm.\2"),
        Rename(rf"blocks\.{number}\.mlp\.3\.(.+)", rf"{place}.mlp.2.\1"),
        Rename(rf"blocks\.{number}\.(.+)", rf"{place}.\1"),
    )


def _level(number: int, counts: tuple[int, ...]) -> int:
    """Return the level, 1 to 4, of a block."""
    return next(level for level in range(1, 5) if number < sum(counts[:level]))


def _place(number: int, counts: tuple[int, ...]) -> int:
    """Return the number of a block within its level."""
    return number - sum(counts[: _level(number, counts) - 1])


def examine(entries: Entries) -> Finding:
    """Determine the size from the number of blocks.

    Raises:
        CheckpointError: it is none that we have, such as MViT of version 1.
    """
    refuse(entries, r"pos_encoding\.(?:spatial|temporal)_pos|pos_encoding\.class_pos", "absolute positions (MViT v1)")
    count = len(entries.distinct(r"blocks\.(\d+)\.norm1\.weight"))
    arch = next((arch for arch, counts in FORMS.items() if sum(counts) == count), None)
    if arch is None:
        what = f"an MViT of {count} blocks, which is not supported"
        raise CheckpointError(what, hint=f"known forms: {', '.join(FORMS)}")
    settings: dict[str, Any] = {"name": "mvit", "arch": arch, "num_frames": 16}
    if "head.1.weight" in entries.tensors:
        settings["num_classes"] = {"action": entries.shape("head.1.weight")[0]}
    return Finding(settings=settings, rules=_rules(FORMS[arch]))


TORCHVISION_MVIT = Project(
    name="torchvision's MViT",
    marks=(r"conv_proj\.weight", r"pos_encoding\.class_token", r"blocks\.0\.attn\.qkv\.weight"),
    examine=examine,
    pixels=KINETICS,
    protocols={"mvit": Protocol("dense", 4, "5x1")},
)
