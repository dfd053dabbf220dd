"""facebookresearch/SlowFast: Slow, C2D, I3D and SlowFast, depths 50 and 101."""

from __future__ import annotations

from typing import Any

from tdpn_core.weights.project import Entries, Finding, Project, depth, refuse
from tdpn_core.weights.projects.slowfast import same_depth, slowfast_settings, temporal_blocks
from tdpn_core.weights.protocol import DENSE_2, DENSE_8, KINETICS
from tdpn_core.weights.rename_rules import Rename, Rule

HEAD = Rename(r"head\.projection\.(.+)", r"head.linear.action.\1")


def path_rules(path: int, ours: str) -> tuple[Rule, ...]:
    """Return the rules for one pathway."""
    rules: list[Rule] = [
        Rename(rf"s1\.pathway{path}_stem\.conv\.(.+)", rf"{ours}conv1.\1"),
        Rename(rf"s1\.pathway{path}_stem\.bn\.(.+)", rf"{ours}bn1.\1"),
    ]
    for stage in range(1, 5):
        block = rf"s{stage + 1}\.pathway{path}_res(\d+)\."
        place = rf"{ours}layer{stage}.\1."
        rules += [
            Rename(rf"{block}branch1\.(.+)", rf"{place}downsample.0.\2"),
            Rename(rf"{block}branch1_bn\.(.+)", rf"{place}downsample.1.\2"),
        ]
        for index, letter in enumerate("abc", start=1):
            rules += [
                Rename(rf"{block}branch2\.{letter}\.(.+)", rf"{place}conv{index}.\2"),
                Rename(rf"{block}branch2\.{letter}_bn\.(.+)", rf"{place}bn{index}.\2"),
            ]
    return tuple(rules)


def examine(entries: Entries) -> Finding:
    """Determine the network from its pathways and kernels. In eval mode, all its networks end in a softmax."""
    refuse(entries, r"s\d\.pathway\d_nonlocal.+", "non-local blocks")
    refuse(entries, r".+\.split_bn\..+", "normalisation split for multigrid training")
    settings: dict[str, Any] = {}
    if "head.projection.weight" in entries.tensors:
        settings["num_classes"] = {"action": entries.shape("head.projection.weight")[0]}
    if entries.has(r"s1\.pathway1_stem\..+"):
        return examine_slowfast(entries, settings)
    settings |= {"arch": _depth(entries, 0), "num_frames": 8}
    kernels = tuple(entries.time(f"s{stage}.pathway0_res0.branch2.a.weight") for stage in range(2, 6))
    if entries.time("s1.pathway0_stem.conv.weight") == 5:
        settings |= {"name": "i3d", "temporal_strides": (1, 1, 2)}
    elif max(kernels) == 1:
        settings |= {"name": "c2d", "temporal_strides": (1, 1, 2)}
    else:
        settings |= {"name": "slowonly", "temporal_kernels": kernels}
    return Finding(settings=settings, rules=(HEAD, *path_rules(0, "backbone.")), answer="probabilities", pathways=1)


def examine_slowfast(entries: Entries, settings: dict[str, Any]) -> Finding:
    """SlowFast: the first of the two pathways is the slow one."""
    arch = same_depth(_depth(entries, 0), _depth(entries, 1))
    blocks = temporal_blocks(
        entries, _counts(entries, 0), lambda n, stage, block: f"s{stage + 1}.pathway{n}_res{block}.branch2.a.weight"
    )
    laterals = tuple(f"s{stage}_fuse.conv_f2s.weight" for stage in range(1, 5))
    found = slowfast_settings(entries, arch, laterals, deep_alpha=4)
    rules: list[Rule] = [HEAD, *path_rules(0, "backbone.slow."), *path_rules(1, "backbone.fast.")]
    for number in range(4):
        rules += [
            Rename(rf"s{number + 1}_fuse\.conv_f2s\.(.+)", rf"backbone.lateral.{number}.conv.\1"),
            Rename(rf"s{number + 1}_fuse\.bn\.(.+)", rf"backbone.lateral.{number}.bn.\1"),
        ]
    return Finding(
        settings={**settings, **found, **blocks, "lateral_norm": True, "slow_frames": "linspace"},
        rules=tuple(rules),
        answer="probabilities",
        pathways=2,
    )


def _counts(entries: Entries, path: int) -> tuple[int, ...]:
    return tuple(len(entries.distinct(rf"s{stage}\.pathway{path}_res(\d+)\..+")) for stage in range(2, 6))


def _depth(entries: Entries, path: int) -> str:
    bottleneck = f"s2.pathway{path}_res0.branch2.c.weight" in entries.tensors
    return depth(_counts(entries, path), bottleneck=bottleneck)


PYSLOWFAST = Project(
    name="PySlowFast",
    marks=(r"s1\.pathway0_stem\.conv\.weight", r"s5\.pathway0_res0\.branch2\.a\.weight"),
    examine=examine,
    clip_in_name=r"_(?P<frames>\d+)x(?P<interval>\d+)_",
    pixels=KINETICS,
    protocols={"slowonly": DENSE_8, "c2d": DENSE_8, "i3d": DENSE_8, "slowfast": DENSE_2},
)
