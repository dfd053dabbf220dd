"""torchvision's Video Swin transformers: tiny, small and base."""

from __future__ import annotations

from typing import Any

from tdpn_core.errors import CheckpointError
from tdpn_core.model.baselines.swin import FORMS
from tdpn_core.weights.project import Entries, Finding, Project
from tdpn_core.weights.protocol import IMAGENET, Protocol
from tdpn_core.weights.rename_rules import Drop, Rename, Rule

RULES: tuple[Rule, ...] = (
    Drop(r".+\.relative_position_index", "computed, the same in every file"),
    Rename(r"head\.(weight|bias)", r"head.linear.action.\1"),
    Rename(r"(patch_embed|norm)\.(.+)", r"backbone.\1.\2"),
    *(
        rule
        for stage in range(1, 5)
        for rule in (
            Rename(rf"features\.{2 * stage - 2}\.(\d+\.mlp)\.3\.(.+)", rf"backbone.layer{stage}.\1.2.\2"),
            Rename(rf"features\.{2 * stage - 2}\.(\d+\..+)", rf"backbone.layer{stage}.\1"),
            Rename(rf"features\.{2 * stage - 3}\.((?:norm|reduction)\..+)", rf"backbone.merge{stage}.\1"),
        )
    ),
)


def examine(entries: Entries) -> Finding:
    """Determine the size from the channels and the numbers of blocks.

    Raises:
        CheckpointError: it is none of them.
    """
    channels = entries.shape("patch_embed.proj.weight")[0]
    counts = tuple(len(entries.distinct(rf"features\.{stage}\.(\d+)\.norm1\..+")) for stage in (0, 2, 4, 6))
    arch = next((arch for arch, (width, _, blocks) in FORMS.items() if (width, blocks) == (channels, counts)), None)
    if arch is None:
        what = f"a Swin of {channels} channels and {counts} blocks, which is not supported"
        raise CheckpointError(what, hint=f"known forms: {', '.join(FORMS)}")
    settings: dict[str, Any] = {"name": "swin", "arch": arch, "num_frames": 32}
    if "head.weight" in entries.tensors:
        settings["num_classes"] = {"action": entries.shape("head.weight")[0]}
    return Finding(settings=settings, rules=RULES)


TORCHVISION_SWIN = Project(
    name="torchvision's Video Swin",
    marks=(r"patch_embed\.proj\.weight", r"features\.0\.0\.attn\.relative_position_bias_table"),
    tells=lambda entries: len(entries.shape("patch_embed.proj.weight")) == 5,
    examine=examine,
    pixels=IMAGENET,
    protocols={"swin": Protocol("dense", 2, "12x1")},
)
