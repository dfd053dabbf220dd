"""decisionforce/TPN (and mmaction 0.1, which it forks): SlowOnly and TSM, with or without the pyramid."""

from __future__ import annotations

from typing import Any

from tdpn_core.config.families import LEVELS
from tdpn_core.weights.project import Entries, Finding, Project, residual_depth, stage_kernels
from tdpn_core.weights.protocol import DENSE_8, IMAGENET, SEGMENTS, TWICE
from tdpn_core.weights.rename_rules import Rename, Rule

BACKBONE = (Rename(r"(backbone\..+)", r"\1"), Rename(r"cls_head\.(?:fc_cls|new_cls)\.(.+)", r"head.linear.action.\1"))


def examine(entries: Entries) -> Finding:
    """Determine SlowOnly or TSM from the kernels' dimensions, and whether there is a neck."""
    arch = residual_depth(entries, "backbone.")
    settings: dict[str, Any] = {"arch": arch, "num_frames": 8}
    if "cls_head.fc_cls.weight" in entries.tensors or "cls_head.new_cls.weight" in entries.tensors:
        layer = "fc_cls" if "cls_head.fc_cls.weight" in entries.tensors else "new_cls"
        settings["num_classes"] = {"action": entries.shape(f"cls_head.{layer}.weight")[0]}
    video = len(entries.shape("backbone.conv1.weight")) == 5
    neck = entries.has(r"necks\..+")
    if video:
        settings |= {"name": "tpn" if neck else "slowonly", "temporal_kernels": stage_kernels(entries, "backbone.")}
    else:
        settings |= {"name": "tsm+tpn" if neck else "tsm", "shift": "inplace"}
    rules: tuple[Rule, ...] = BACKBONE
    if neck:
        found, neck_rules = examine_neck(entries, "necks.")
        settings |= found
        rules += neck_rules
    return Finding(
        settings=settings,
        rules=rules,
        layout="NCTHW" if video else "NTCHW",
        fitted=spread_rates if neck and arch == "r101" else None,
    )


def spread_rates(frames: int) -> dict[str, Any]:
    """Return the settings of the project's R101 (not R50) configurations: res4 keeps two time steps."""
    return {"temporal_rates": (max(1, frames // 2), frames)}


def examine_neck(entries: Entries, prefix: str) -> tuple[dict[str, Any], tuple[Rule, ...]]:
    """Return the settings of a neck whose entries begin with `prefix`, and its rules."""
    count = len(entries.distinct(rf"{prefix}temporal_modulation_ops\.(\d)\..+"))
    levels = LEVELS[-count:]
    auxiliary = entries.has(rf"{prefix}aux_head\..+")
    return {"levels": levels, "auxiliary_head": auxiliary}, neck_rules(prefix, levels)


def neck_rules(prefix: str, levels: tuple[str, ...]) -> tuple[Rule, ...]:
    """Return the rules for the neck under `prefix`, by the level that each number refers to."""
    p = prefix.replace(".", r"\.")
    rules: list[Rule] = [
        Rename(rf"{p}aux_head\.convs\.(.+)", r"auxiliary_head.reduce.\1"),
        Rename(rf"{p}aux_head\.fc\.(.+)", r"auxiliary_head.head.linear.action.\1"),
        Rename(rf"{p}pyramid_fusion_op\.0\.(.+)", r"pyramid.pyramid_fusion.conv.\1"),
        Rename(rf"{p}pyramid_fusion_op\.1\.(.+)", r"pyramid.pyramid_fusion.bn.\1"),
    ]
    for theirs, ours in (("level_fusion_op2", "top_down"), ("level_fusion_op", "bottom_up")):
        rules += [
            Rename(rf"{p}{theirs}\.fusion_conv\.0\.(.+)", rf"pyramid.fusion.{ours}.project.conv.\1"),
            Rename(rf"{p}{theirs}\.fusion_conv\.1\.(.+)", rf"pyramid.fusion.{ours}.project.bn.\1"),
        ]
        for number, level in enumerate(levels):
            rules += [
                Rename(rf"{p}{theirs}\.ops\.{number}\.conv\.(.+)", rf"pyramid.fusion.{ours}.levels.{level}.conv.\1"),
                Rename(rf"{p}{theirs}\.ops\.{number}\.norm\.(.+)", rf"pyramid.fusion.{ours}.levels.{level}.bn.\1"),
            ]
    for number, level in enumerate(levels):
        rules += [
            Rename(rf"{p}spatial_modulation\.spatial_modulation\.{number}\.(.+)", rf"pyramid.spatial.{level}.\1"),
            Rename(rf"{p}temporal_modulation_ops\.{number}\.conv\.(.+)", rf"pyramid.temporal.{level}.\1"),
            Rename(rf"{p}downsampling_ops\.{number}\.conv\.(.+)", rf"pyramid.bottom_up.{level}.\1"),
        ]
    return tuple(rules)


TPN = Project(
    name="decisionforce/TPN",
    marks=(r"backbone\.conv1\.weight", r"backbone\.layer4\.0\.conv1\.weight"),
    examine=examine,
    clip_in_name=r"f(?P<frames>\d+)s(?P<interval>\d+)",
    pixels=IMAGENET,
    protocols={"slowonly": DENSE_8, "tpn": DENSE_8, "tsm": TWICE, "tsm+tpn": TWICE, "tsn": SEGMENTS},
)
