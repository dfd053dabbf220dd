"""open-mmlab/mmaction2: TSN, TSM, SlowOnly, I3D, SlowFast, and TPN on SlowOnly and TSM."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import torch
from torch import Tensor

from tdpn_core.config.families import LEVELS
from tdpn_core.errors import CheckpointError
from tdpn_core.recipes.auto_recipe import Pixels
from tdpn_core.weights.project import Entries, Finding, Project, depth, refuse, residual_depth, stage_kernels
from tdpn_core.weights.projects.slowfast import same_depth, slowfast_settings, temporal_blocks
from tdpn_core.weights.protocol import DENSE_2, DENSE_8, IMAGENET, TEN_CROPS, TWICE, Protocol
from tdpn_core.weights.rename_rules import Drop, Rename, Rule

CONV = "conv{}.conv.weight"

C3D_PIXELS = Pixels((104 / 255, 117 / 255, 128 / 255), (1 / 255, 1 / 255, 1 / 255))
"""Caffe's means of blue, green and red, which mmaction2 subtracts from red, green and blue."""

CLIP_LENGTH = r"\b(?:clip_len|new_length)\s*=\s*(\d+)"

OTHERS = (
    Rename(r"cls_head\.fc_cls\.(.+)", r"head.linear.action.\1"),
    Drop(r"data_preprocessor\..+", "pixel mean and standard deviation, which the sampling settings hold"),
)


def backbone_rules(theirs: str, ours: str) -> tuple[Rule, ...]:
    """Return the rules for a residual network whose entries begin with `theirs`."""
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
    """Determine the family from the first convolution, TSM's wrapper and the neck."""
    refuse(entries, r"backbone\..*(non_local|nl_op).*", "non-local blocks")
    refuse(entries, r"backbone\.layer\d\.\d+\.net\..+", "TSM's shift of whole blocks (shift_place='block')")
    if entries.has(r"backbone\.conv1a\.conv\.weight"):
        return examine_c3d(entries)
    if entries.has(r"backbone\.conv1\.conv\.conv_s\.weight"):
        return examine_pairs(entries)
    if entries.has(r"backbone\.slow_path\..+"):
        return examine_slowfast(entries)
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
    if not video and not shifted and not neck:
        return examine_frames(entries, settings, rules)
    if not video:
        name = "tsm" if shifted else "tsn"
        settings |= {"name": f"{name}+tpn" if neck else name} | ({"shift": "residual"} if shifted else {})
    elif entries.time("backbone.conv1.conv.weight") == 5:
        settings |= {"name": "i3d", "num_frames": 32, "temporal_strides": (2, 2, 2)}
    else:
        kernels = stage_kernels(entries, "backbone.", "conv1.conv.weight")
        settings |= {"name": "tpn" if neck else "slowonly", "temporal_kernels": kernels}
    dense = not video and "dense" in entries.file_name
    return Finding(
        settings=settings,
        rules=rules,
        layout="NCTHW" if video else "NTCHW",
        protocol=DENSE_8 if dense else None,
    )


def examine_frames(entries: Entries, settings: dict[str, Any], rules: tuple[Rule, ...]) -> Finding:
    """Distinguish TSN and C2D, which have the same tensors, by the settings in the file, or else by its name.

    C2D without its pool in time ("nopool") is a TSN on dense clips.
    """
    text, name = entries.settings_text, entries.file_name.lower()
    tsn = Finding(settings=settings | {"name": "tsn"}, rules=rules, layout="NTCHW")
    pooled = settings | {"name": "c2d", "temporal_strides": (1, 1, 2), "padded_pool": False}
    c2d = Finding(settings=pooled, rules=rules)
    plain = Finding(settings=settings | {"name": "c2d", "temporal_strides": (1, 1, 1)}, rules=rules, layout="NTCHW")
    lengths = set(re.findall(CLIP_LENGTH, text))
    if re.search(r"type\s*=\s*['\"]C2D['\"]", text):
        return c2d
    if lengths:
        return tsn if lengths == {"1"} else plain
    if "c2d" in name:
        return plain if "nopool" in name else c2d
    return tsn if "tsn" in name else dataclasses.replace(tsn, alternatives={"c2d": c2d})


def examine_c3d(entries: Entries) -> Finding:
    """C3D, whose linear layers are part of the backbone in mmaction2.

    Raises:
        CheckpointError: the first linear layer does not fit 16 frames of 112x112 pixels.
    """
    settings: dict[str, Any] = {"name": "c3d", "num_frames": 16}
    if (inputs := entries.shape("backbone.fc6.weight")[1]) != 8192:
        raise CheckpointError(f"a C3D whose fc6 has {inputs} inputs; 16 frames of 112x112 pixels give 8192")
    if "cls_head.fc_cls.weight" in entries.tensors:
        settings["num_classes"] = {"action": entries.shape("cls_head.fc_cls.weight")[0]}
    convolutions = Rename(r"(backbone\.conv\d[ab])\.conv\.(.+)", r"\1.\2")
    return Finding(settings=settings, rules=(*OTHERS, convolutions, Rename(r"backbone\.(fc[67]\..+)", r"\1")))


def examine_pairs(entries: Entries) -> Finding:
    """R(2+1)D, whose shortcuts are pairs of convolutions as well."""
    counts = [len(entries.distinct(rf"backbone\.layer{stage}\.(\d+)\..+")) for stage in range(1, 5)]
    bottleneck = entries.has(r"backbone\.layer1\.0\.conv3\..+")
    settings: dict[str, Any] = {"name": "r2plus1d", "arch": depth(counts, bottleneck=bottleneck), "num_frames": 8}
    if bottleneck:
        raise CheckpointError(f"an R(2+1)D with bottlenecks ({settings['arch']}), which is not supported")
    if "cls_head.fc_cls.weight" in entries.tensors:
        settings["num_classes"] = {"action": entries.shape("cls_head.fc_cls.weight")[0]}
    rules: list[Rule] = [*OTHERS]
    for spot, ours, norm in (
        (r"(backbone)\.conv1", r"\1.conv1", r"\1.bn1"),
        (r"(backbone\.layer\d\.\d+)\.conv(\d)", r"\1.conv\2", r"\1.bn\2"),
        (r"(backbone\.layer\d\.\d+)\.downsample", r"\1.downsample.0", r"\1.downsample.1"),
    ):
        last = spot.count("(") + 1
        rules += [
            Rename(rf"{spot}\.conv\.conv_s\.(weight)", rf"{ours}.space.\{last}"),
            Rename(rf"{spot}\.conv\.bn_s\.(.+)", rf"{ours}.bn.\{last}"),
            Rename(rf"{spot}\.conv\.conv_t\.(weight)", rf"{ours}.time.\{last}"),
            Rename(rf"{spot}\.bn\.(.+)", rf"{norm}.\{last}"),
        ]
    return Finding(settings={**settings, "form": "mmaction2"}, rules=tuple(rules))


def examine_slowfast(entries: Entries) -> Finding:
    """SlowFast: lateral connections without normalisation; the classifier has the fast pathway first."""
    paths = [f"backbone.{path}_path." for path in ("slow", "fast")]
    arch = same_depth(*(residual_depth(entries, path, CONV) for path in paths))
    blocks = temporal_blocks(
        entries, counts(entries, paths[0]), lambda n, stage, block: f"{paths[n]}layer{stage}.{block}.conv1.conv.weight"
    )
    laterals = tuple(f"{paths[0]}{place}_lateral.conv.weight" for place in ("conv1", "layer1", "layer2", "layer3"))
    settings = slowfast_settings(entries, arch, laterals, deep_alpha=8) | blocks
    settings |= {"lateral_norm": entries.has(r".+_lateral\.bn\..+"), "slow_frames": "stride"}
    if "cls_head.fc_cls.weight" in entries.tensors:
        settings["num_classes"] = {"action": entries.shape("cls_head.fc_cls.weight")[0]}
    rules: list[Rule] = [Rename(r"cls_head\.fc_cls\.weight", "head.linear.action.weight", slow_first)]
    for number, lateral in enumerate(laterals):
        spot = lateral.removesuffix("conv.weight").replace(".", r"\.")
        rules.append(Rename(rf"{spot}(.+)", rf"backbone.lateral.{number}.\1"))
    for theirs, ours in zip(paths, ("backbone.slow.", "backbone.fast."), strict=True):
        rules += backbone_rules(theirs, ours)
    return Finding(settings=settings, rules=(*rules, *OTHERS))


def counts(entries: Entries, prefix: str) -> tuple[int, ...]:
    """Return the number of blocks in each stage."""
    return tuple(len(entries.distinct(rf"{prefix}layer{stage}\.(\d+)\..+")) for stage in range(1, 5))


def slow_first(weight: Tensor) -> Tensor:
    """Reorder a classifier's columns from (fast, slow) to (slow, fast); a ninth of them is the fast pathway's."""
    fast = weight.shape[1] // 9
    return torch.cat([weight[:, fast:], weight[:, :fast]], 1)


def examine_neck(entries: Entries, prefix: str) -> tuple[dict[str, Any], tuple[Rule, ...]]:
    """Return the settings of a neck whose entries begin with `prefix`, and its rules."""
    count = len(entries.distinct(rf"{prefix}temporal_modulation_ops\.(\d)\..+"))
    levels = LEVELS[-count:]
    return {"levels": levels, "auxiliary_head": entries.has(rf"{prefix}aux_head\..+")}, neck_rules(prefix, levels)


def neck_rules(prefix: str, levels: tuple[str, ...]) -> tuple[Rule, ...]:
    """Return the rules for the neck under `prefix`; `levels` names the level of each number."""
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
    marks=(
        r"backbone\.(?:(?:slow_path\.)?conv1\.conv\.(?:conv_s\.)?|conv1a\.conv\.)weight",
        r"backbone\..+\.bn\.running_var|backbone\.fc7\.weight",
    ),
    examine=examine,
    clip_in_name=r"(?<![\dx])(?P<frames>\d+)x(?P<interval>\d+)x(?P<segments>\d+)(?![\dx])",
    pixels=IMAGENET,
    protocols={
        "tsn": TEN_CROPS,
        "tsm": TWICE,
        "tsm+tpn": TWICE,
        "tsn+tpn": TWICE,
        "slowonly": DENSE_8,
        "tpn": DENSE_8,
        "i3d": DENSE_2,
        "slowfast": DENSE_2,
        "c2d": Protocol("dense", 8, "10x3", 224),
        "r2plus1d": DENSE_8,
        "c3d": Protocol("dense", 1, "10x1", 128, C3D_PIXELS),
    },
)
