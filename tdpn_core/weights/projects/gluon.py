"""dmlc/gluon-cv's torch models: TPN, SlowOnly (its "I3D-slow"), SlowFast and TSN (its "v1b"), of depth 50 and 101."""

from __future__ import annotations

import re
from typing import Any

from tdpn_core.weights.project import Entries, Finding, Project, residual_depth, stage_kernels
from tdpn_core.weights.projects.slowfast import same_depth, slowfast_settings, temporal_blocks
from tdpn_core.weights.projects.tpn import examine_neck, spread_rates
from tdpn_core.weights.protocol import DENSE_2, DENSE_8, IMAGENET, Protocol
from tdpn_core.weights.rename_rules import Rename, Rule

HEAD = Rename(r"fc\.(weight|bias)", r"head.linear.action.\1")
BACKBONE = Rename(r"((?:conv1|bn1|layer\d)\..+)", r"backbone.\1")
PATHS = ("slow", "fast")
RESIDUAL = r"^(slow|fast)_res([2-5])\."
LATERALS = ("p1", "res2", "res3", "res4")

VIDEO_CLASSES = (400, 174)
"""Numbers of classes of its TSNs, for Kinetics-400 and Something-Something V2; image networks have 1,000."""


def is_gluons(entries: Entries) -> bool:
    """Return whether a ResNet with torchvision's names is gluon-cv's: for clips, or a TSN by file name or classes."""
    if "conv1.weight" not in entries.tensors:
        return True
    if len(entries.shape("conv1.weight")) == 5:
        return True
    rows = entries.shape("fc.weight")[0] if "fc.weight" in entries.tensors else 0
    return "_v1b_" in entries.file_name or rows in VIDEO_CLASSES


def examine(entries: Entries) -> Finding:
    """Determine SlowFast from its pathways, TSN from its 2D kernels, TPN from its neck; else SlowOnly."""
    settings: dict[str, Any] = {"num_frames": 8}
    if "fc.weight" in entries.tensors:
        settings["num_classes"] = {"action": entries.shape("fc.weight")[0]}
    if entries.has(r"fast_.+"):
        return examine_slowfast(entries, settings)
    arch = residual_depth(entries, "")
    settings["arch"] = arch
    if len(entries.shape("conv1.weight")) == 4:
        return Finding(settings={**settings, "name": "tsn", "num_frames": 7}, rules=(HEAD, BACKBONE))
    settings["temporal_kernels"] = stage_kernels(entries, "")
    if not entries.has(r"TPN_neck\..+"):
        return Finding(settings={**settings, "name": "slowonly"}, rules=(HEAD, BACKBONE))
    found, rules = examine_neck(entries, "TPN_neck.")
    return Finding(
        settings={**settings, **found, "name": "tpn"},
        rules=(HEAD, BACKBONE, *rules),
        fitted=spread_rates if arch == "r101" else None,
    )


def examine_slowfast(entries: Entries, settings: dict[str, Any]) -> Finding:
    """SlowFast: the slow pathway takes every alpha-th frame and is the first in the classifier.

    At depth 101, 4x16 (alpha 8) and 8x8 have the same shapes.
    """
    plain = Entries({re.sub(RESIDUAL, _numbered, name): value for name, value in entries.tensors.items()})
    arch = same_depth(*(residual_depth(plain, f"{path}_") for path in PATHS))
    counts = tuple(len(entries.distinct(rf"slow_res{stage}\.(\d+)\..+")) for stage in range(2, 6))
    blocks = temporal_blocks(entries, counts, lambda n, stage, block: f"{PATHS[n]}_res{stage + 1}.{block}.conv1.weight")
    found = slowfast_settings(
        entries,
        arch,
        tuple(f"lateral_{place}.0.weight" for place in LATERALS),
        deep_alpha=8 if "4x16" in entries.file_name else 4,
    )
    return Finding(
        settings={**settings, **found, **blocks, "lateral_norm": True, "slow_frames": "stride"},
        rules=(HEAD, *slowfast_rules()),
    )


def _numbered(match: re.Match[str]) -> str:
    return f"{match[1]}_layer{int(match[2]) - 1}."


def slowfast_rules() -> tuple[Rule, ...]:
    """Return the rules for both pathways and the lateral connections."""
    rules: list[Rule] = []
    for number, place in enumerate(LATERALS):
        rules += [
            Rename(rf"lateral_{place}\.0\.(.+)", rf"backbone.lateral.{number}.conv.\1"),
            Rename(rf"lateral_{place}\.1\.(.+)", rf"backbone.lateral.{number}.bn.\1"),
        ]
    for path in PATHS:
        rules += [
            Rename(rf"{path}_((?:conv1|bn1)\..+)", rf"backbone.{path}.\1"),
            *(Rename(rf"{path}_res{stage + 1}\.(.+)", rf"backbone.{path}.layer{stage}.\1") for stage in range(1, 5)),
        ]
    return tuple(rules)


GLUON = Project(
    name="gluon-cv",
    marks=(r"(?:fast_)?conv1\.weight", r"(?:fast_)?bn1\.running_var", r"(?:layer4|fast_res5)\.0\.conv1\.weight"),
    tells=is_gluons,
    examine=examine,
    clip_in_name=r"_f?(?P<frames>\d+)[sx](?P<interval>\d+)_",
    pixels=IMAGENET,
    protocols={"slowonly": DENSE_8, "tpn": DENSE_8, "slowfast": DENSE_2, "tsn": Protocol("segments", 1, "1x3")},
)
