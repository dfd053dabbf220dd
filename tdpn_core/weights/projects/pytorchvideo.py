"""facebookresearch/pytorchvideo's hub: Slow, C2D, I3D, SlowFast and R(2+1)D, of depth 50 and 101."""

from __future__ import annotations

from typing import Any

from tdpn_core.weights.project import Entries, Finding, Project, depth, refuse
from tdpn_core.weights.rules import Rename, Rule

HEAD = Rename(r"blocks\.\d+\.proj\.(.+)", r"head.linear.action.\1")


def stages(entries: Entries) -> list[str]:
    """The numbers of the blocks that are residual stages, res2 to res5: a pool between them takes a number, too."""
    return entries.distinct(r"blocks\.(\d+)\.(?:multipathway_blocks\.\d\.)?res_blocks\..+")


def path_rules(numbers: list[str], inner: str, ours: str) -> tuple[Rule, ...]:
    """One pathway, whose parts lie at `inner` in each block."""
    rules: list[Rule] = [
        Rename(rf"blocks\.0\.{inner}conv\.(.+)", rf"{ours}conv1.\1"),
        Rename(rf"blocks\.0\.{inner}norm\.(.+)", rf"{ours}bn1.\1"),
    ]
    for stage, number in enumerate(numbers, start=1):
        block = rf"blocks\.{number}\.{inner}res_blocks\.(\d+)\."
        place = rf"{ours}layer{stage}.\1."
        rules += [
            Rename(rf"{block}branch1_conv\.(.+)", rf"{place}downsample.0.\2"),
            Rename(rf"{block}branch1_norm\.(.+)", rf"{place}downsample.1.\2"),
        ]
        for index, letter in enumerate("abc", start=1):
            rules += [
                Rename(rf"{block}branch2\.conv_{letter}\.(weight)", rf"{place}conv{index}.\2"),
                Rename(rf"{block}branch2\.norm_{letter}\.(.+)", rf"{place}bn{index}.\2"),
            ]
    return tuple(rules)


def examine(entries: Entries) -> Finding:
    """Which network, by its pathways, its factorised convolutions, its pool and its first kernel."""
    refuse(
        entries,
        r"blocks\.\d+\.(?:multipathway_blocks\.\d\.)?res_blocks\.\d+\.branch2\.conv_b\.(?!conv_|weight).+",
        "other blocks",
    )
    numbers = stages(entries)
    settings: dict[str, Any] = {"num_classes": {"action": _classes(entries)}}
    counts = [
        len(entries.distinct(rf"blocks\.{number}\.(?:multipathway_blocks\.0\.)?res_blocks\.(\d+)\..+"))
        for number in numbers
    ]
    settings["arch"] = depth(counts, bottleneck=True)
    pooled = numbers != ["1", "2", "3", "4"]
    kernels = tuple(entries.time(f"blocks.{number}.res_blocks.0.branch2.conv_a.weight") for number in numbers)
    if entries.time("blocks.0.conv.weight") == 5:
        settings |= {"name": "i3d", "num_frames": 8, "temporal_strides": (1, 1, 2 if pooled else 1)}
    elif pooled:
        settings |= {"name": "c2d", "num_frames": 8, "temporal_strides": (1, 1, 2)}
    else:
        settings |= {"name": "slowonly", "num_frames": 8, "temporal_kernels": kernels}
    return Finding(settings=settings, rules=(HEAD, *path_rules(numbers, "", "backbone.")))


def _classes(entries: Entries) -> int:
    (number,) = entries.distinct(r"blocks\.(\d+)\.proj\.weight")
    return entries.shape(f"blocks.{number}.proj.weight")[0]


PYTORCHVIDEO = Project(
    name="pytorchvideo",
    marks=(
        r"blocks\.0\.(multipathway_blocks\.0\.)?conv\.weight",
        r"blocks\.\d+\.(multipathway_blocks\.0\.)?res_blocks\..+",
    ),
    examine=examine,
)
