"""open-mmlab/mmaction2: TSN, TSM, SlowOnly, I3D, SlowFast, and TPN over SlowOnly and TSM."""

from __future__ import annotations

from typing import Any

from tdpn_core.config import LEVELS
from tdpn_core.errors import CheckpointError
from tdpn_core.weights.project import Entries, Finding, Project, refuse, residual_depth, stage_kernels
from tdpn_core.weights.rules import Drop, Rename, Rule

CONV = "conv{}.conv.weight"

OTHERS = (
    Rename(r"cls_head\.fc_cls\.(.+)", r"head.linear.action.\1"),
    Drop(r"data_preprocessor\..+", "the mean and deviation of pixels, which every recipe here has"),
)


def backbone_rules(theirs: str, ours: str) -> tuple[Rule, ...]:
    """A residual network whose entries begin with `theirs`."""
    p = theirs.replace(".", r"\.")
    return (
        Rename(rf"{p}conv1\.conv\.(.+)", rf"{ours}conv1.\1"),
        Rename(rf"{p}conv1\.bn\.(.+)", rf"{ours}bn1.\1"),
        Rename(rf"{p}(layer\d\.\d+)\.conv(\d)\.conv\.(?:net\.)?(weight)", rf"{ours}\1.conv\2.\3"),
        Rename(rf"{p}(layer\d\.\d+)\.conv(\d)\.bn\.(.+)", rf"{ours}\1.bn\2.\3"),
        Rename(rf"{p}(layer\d\.\d+)\.downsample\.conv\.(.+)", rf"{ours}\1.downsample.0.\2"),
        Rename(rf"{p}(layer\d\.\d+)\.downsample\.bn\.(.+)", rf"{ours}\1.downsample.1.\2"),
    )


def examine(entries: Entries) -> Finding:
    """Which of the families, by the first convolution, TSM's wrapper and the neck."""
    refuse(entries, r"backbone\..*(non_local|nl_op).*", "non-local blocks")
    refuse(entries, r"backbone\.layer\d\.\d+\.net\..+", "TSM's shift of whole blocks (shift_place='block')")
    if entries.has(r"backbone\.slow_path\..+"):
        raise CheckpointError("SlowFast")
    shifted = entries.has(r"backbone\..+\.conv1\.conv\.net\.weight")
    plain = Entries({name.replace(".conv.net.", ".conv."): value for name, value in entries.tensors.items()})
    arch = residual_depth(plain, "backbone.", CONV)
    settings: dict[str, Any] = {"arch": arch, "num_frames": 8}
    if "cls_head.fc_cls.weight" in entries.tensors:
        settings["num_classes"] = {"action": entries.shape("cls_head.fc_cls.weight")[0]}
    video = len(entries.shape("backbone.conv1.conv.weight")) == 5
    rules: tuple[Rule, ...] = (*OTHERS, *backbone_rules("backbone.", "backbone."))
    neck = entries.has(r"neck\..+")
    if neck:
        found, more = examine_neck(entries, "neck.")
        settings |= found
        rules += more
    if not video:
        name = "tsm" if shifted else "tsn"
        settings |= {"name": f"{name}+tpn" if neck else name} | ({"shift": "residual"} if shifted else {})
    elif entries.time("backbone.conv1.conv.weight") == 5:
        settings |= {"name": "i3d", "num_frames": 32, "temporal_strides": (2, 2, 2)}
    else:
        kernels = stage_kernels(entries, "backbone.", "conv1.conv.weight")
        settings |= {"name": "tpn" if neck else "slowonly", "temporal_kernels": kernels}
    return Finding(settings=settings, rules=rules, layout="NCTHW" if video else "NTCHW")


def examine_neck(entries: Entries, prefix: str) -> tuple[dict[str, Any], tuple[Rule, ...]]:
    """The settings of a neck whose entries begin with `prefix`, and its rules."""
    count = len(entries.distinct(rf"{prefix}temporal_modulation_ops\.(\d)\..+"))
    levels = LEVELS[-count:]
    return {"levels": levels, "auxiliary_head": entries.has(rf"{prefix}aux_head\..+")}, neck_rules(prefix, levels)


def neck_rules(prefix: str, levels: tuple[str, ...]) -> tuple[Rule, ...]:
    """The neck's entries, under `prefix`, by the level that each number stands for."""
    p = prefix.replace(".", r"\.")
    rules: list[Rule] = [
        Rename(rf"{p}aux_head\.conv\.(.+)", r"auxiliary_head.reduce.\1"),
        Rename(rf"{p}aux_head\.fc\.(.+)", r"auxiliary_head.head.linear.action.\1"),
        Rename(rf"{p}pyramid_fusion\.(.+)", r"pyramid.pyramid_fusion.\1"),
    ]
    for theirs, ours in (("level_fusion_1", "top_down"), ("level_fusion_2", "bottom_up")):
        rules.append(Rename(rf"{p}{theirs}\.fusion_conv\.(.+)", rf"pyramid.fusion.{ours}.project.\1"))
        rules += [
            Rename(rf"{p}{theirs}\.downsamples\.{number}\.conv\.(.+)", rf"pyramid.fusion.{ours}.levels.{level}.\1")
            for number, level in enumerate(levels)
        ]
    for number, level in enumerate(levels):
        rules += [
            Rename(rf"{p}spatial_modulation\.spatial_modulation\.{number}\.(.+)", rf"pyramid.spatial.{level}.\1"),
            Rename(rf"{p}temporal_modulation_ops\.{number}\.conv\.conv\.(.+)", rf"pyramid.temporal.{level}.\1"),
            Rename(rf"{p}downsample_ops\.{number}\.conv\.conv\.(.+)", rf"pyramid.bottom_up.{level}.\1"),
        ]
    return tuple(rules)


MMACTION2 = Project(
    name="mmaction2",
    marks=(r"backbone\.(slow_path\.)?conv1\.conv\.weight", r"backbone\..+\.bn\.running_var"),
    examine=examine,
)
