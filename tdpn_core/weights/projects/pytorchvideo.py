"""facebookresearch/pytorchvideo's hub: Slow, C2D, I3D, SlowFast and R(2+1)D, depths 50 and 101."""

from __future__ import annotations

from typing import Any

from tdpn_core.errors import CheckpointError
from tdpn_core.weights.project import Entries, Finding, Project, depth
from tdpn_core.weights.projects.slowfast import same_depth, slowfast_settings, temporal_blocks
from tdpn_core.weights.protocol import DENSE_2, DENSE_4, DENSE_8, KINETICS
from tdpn_core.weights.rename_rules import Rename, Rule

HEAD = Rename(r"blocks\.\d+\.proj\.(.+)", r"head.linear.action.\1")


def stages(entries: Entries) -> list[str]:
    """Return the numbers of the blocks that are residual stages, res2 to res5; a pooling block has a number, too."""
    return entries.distinct(r"blocks\.(\d+)\.(?:multipathway_blocks\.\d\.)?res_blocks\..+")


def path_rules(numbers: list[str], inner: str, ours: str) -> tuple[Rule, ...]:
    """Return the rules for one pathway; `inner` is its prefix in each block."""
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
        rules += [
            Rename(rf"{block}branch2\.conv_b\.conv_t\.(weight)", rf"{place}conv2.time.\2"),
            Rename(rf"{block}branch2\.conv_b\.norm\.(.+)", rf"{place}conv2.bn.\2"),
            Rename(rf"{block}branch2\.conv_b\.conv_xy\.(weight)", rf"{place}conv2.space.\2"),
        ]
        for index, letter in enumerate("abc", start=1):
            rules += [
                Rename(rf"{block}branch2\.conv_{letter}\.(weight)", rf"{place}conv{index}.\2"),
                Rename(rf"{block}branch2\.norm_{letter}\.(.+)", rf"{place}bn{index}.\2"),
            ]
    return tuple(rules)


def examine(entries: Entries) -> Finding:
    """Determine the network from its pathways, factorised convolutions, pooling and first kernel."""
    if entries.has(r"blocks\.0\.multipathway_blocks\..+"):
        return examine_slowfast(entries)
    numbers = stages(entries)
    settings: dict[str, Any] = {"arch": _depth(entries, numbers, ""), "num_frames": 8}
    classifier = entries.distinct(r"blocks\.(\d+)\.proj\.weight")
    if classifier:
        settings["num_classes"] = {"action": entries.shape(f"blocks.{classifier[0]}.proj.weight")[0]}
    rules = (HEAD, *path_rules(numbers, "", "backbone."))
    if entries.has(r".+\.conv_b\.conv_xy\.weight"):
        # the hub's networks end in a softmax, in training as well
        return Finding(settings={**settings, "name": "r2plus1d", "num_frames": 16}, rules=rules, answer="probabilities")
    pooled = numbers != ["1", "2", "3", "4"]
    if entries.time("blocks.0.conv.weight") == 5:
        settings |= {"name": "i3d", "temporal_strides": (1, 1, 2 if pooled else 1)}
    elif pooled:
        settings |= {"name": "c2d", "temporal_strides": (1, 1, 2)}
    else:
        kernels = tuple(entries.time(f"blocks.{number}.res_blocks.0.branch2.conv_a.weight") for number in numbers)
        settings |= {"name": "slowonly", "temporal_kernels": kernels}
    return Finding(settings=settings, rules=rules)


def examine_slowfast(entries: Entries) -> Finding:
    """SlowFast: the first of the two pathways is the slow one."""
    numbers = stages(entries)
    inner = [f"multipathway_blocks.{path}." for path in (0, 1)]
    arch = same_depth(*(_depth(entries, numbers, path) for path in inner))
    counts = _counts(entries, numbers, inner[0])
    blocks = temporal_blocks(
        entries,
        counts,
        lambda n, stage, block: f"blocks.{numbers[stage - 1]}.{inner[n]}res_blocks.{block}.branch2.conv_a.weight",
    )
    laterals = tuple(f"blocks.{number}.multipathway_fusion.conv_fast_to_slow.weight" for number in range(4))
    settings = (
        slowfast_settings(entries, arch, laterals, deep_alpha=4)
        | blocks
        | {
            "lateral_norm": True,
            "slow_frames": "linspace",
        }
    )
    classifier = entries.distinct(r"blocks\.(\d+)\.proj\.weight")
    if classifier:
        settings["num_classes"] = {"action": entries.shape(f"blocks.{classifier[0]}.proj.weight")[0]}
    rules: list[Rule] = [
        HEAD,
        Rename(r"blocks\.(\d)\.multipathway_fusion\.conv_fast_to_slow\.(.+)", r"backbone.lateral.\1.conv.\2"),
        Rename(r"blocks\.(\d)\.multipathway_fusion\.norm\.(.+)", r"backbone.lateral.\1.bn.\2"),
    ]
    for path, ours in zip(inner, ("backbone.slow.", "backbone.fast."), strict=True):
        rules += path_rules(numbers, path.replace(".", r"\."), ours)
    return Finding(settings=settings, rules=tuple(rules), pathways=2)


def _counts(entries: Entries, numbers: list[str], inner: str) -> tuple[int, ...]:
    return tuple(len(entries.distinct(rf"blocks\.{number}\.{inner}res_blocks\.(\d+)\..+")) for number in numbers)


def _depth(entries: Entries, numbers: list[str], inner: str) -> str:
    first = f"blocks.{numbers[0]}.{inner}res_blocks.0.branch2."
    name = f"{first}conv_b.weight" if f"{first}conv_b.weight" in entries.tensors else f"{first}conv_b.conv_xy.weight"
    if entries.shape(name)[0] != entries.shape(name)[1]:
        raise CheckpointError("a residual network with grouped convolutions (CSN), which no tdpn model has")
    return depth(_counts(entries, numbers, inner), bottleneck=True)


PYTORCHVIDEO = Project(
    name="pytorchvideo",
    marks=(
        r"blocks\.0\.(multipathway_blocks\.0\.)?conv\.weight",
        r"blocks\.\d+\.(multipathway_blocks\.0\.)?res_blocks\..+",
    ),
    examine=examine,
    clip_in_name=r"_(?P<frames>\d+)x(?P<interval>\d+)_",
    pixels=KINETICS,
    protocols={"slowonly": DENSE_8, "c2d": DENSE_8, "i3d": DENSE_8, "slowfast": DENSE_2, "r2plus1d": DENSE_4},
)
