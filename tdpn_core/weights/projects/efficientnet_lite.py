"""EfficientNet-Lite-PyTorch: ImageNet classifiers Lite0, Lite1 and Lite2, loaded as networks for clips of one frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tdpn_core.config.families import LEVELS
from tdpn_core.config.family_settings import LiteArch
from tdpn_core.errors import CheckpointError
from tdpn_core.model.efficientnet_lite import SCALES, stages_of
from tdpn_core.weights.project import Entries, Finding, Project, refuse
from tdpn_core.weights.protocol import SEGMENTS, TPU
from tdpn_core.weights.rename_rules import Rename, Rule

_PARTS = {
    "_expand_conv": "conv1",
    "_bn0": "bn1",
    "_depthwise_conv": "conv2",
    "_bn1": "bn2",
    "_project_conv": "conv3",
    "_bn2": "bn3",
}
"""Names of a block's layers in the project, and in tdpn."""

_REST = (
    Rename(r"_conv_stem\.(.+)", r"backbone.conv1.\1"),
    Rename(r"_bn0\.(.+)", r"backbone.bn1.\1"),
    Rename(r"_conv_head\.(.+)", r"backbone.conv_top.\1"),
    Rename(r"_bn1\.(.+)", r"backbone.bn_top.\1"),
    Rename(r"_fc\.(.+)", r"head.linear.action.\1"),
)


def examine(entries: Entries) -> Finding:
    """Return a TSN of one frame, with the classifier if the file has one.

    Raises:
        CheckpointError: the network has squeeze-and-excitation, or its blocks are of none of the three sizes.
    """
    refuse(entries, r"_blocks\.\d+\._se_.+", "squeeze-and-excitation, as EfficientNets other than Lite have,")
    arch = _arch(entries)
    settings: dict[str, Any] = {"name": "tsn", "arch": arch, "num_frames": 1}
    if "_fc.weight" in entries.tensors:
        settings["num_classes"] = {"action": entries.shape("_fc.weight")[0]}
    return Finding(settings=settings, rules=(*_REST, *_block_rules(arch)), layout="NCHW")


def _arch(entries: Entries) -> LiteArch:
    numbers = entries.distinct(r"_blocks\.(\d+)\..+")
    found = [entries.shape(f"_blocks.{number}._project_conv.weight")[0] for number in numbers]
    for arch in SCALES:
        if found == [stage.channels for stage in stages_of(arch) for _ in range(stage.blocks)]:
            return arch
    what = f"has {len(found)} blocks, the last of {found[-1]} channels, and is none of {', '.join(SCALES)}"
    raise CheckpointError(what)


def _block_rules(arch: LiteArch) -> Iterator[Rule]:
    number = 0
    for index, level in enumerate(LEVELS, start=1):
        for place in range(sum(stage.blocks for stage in stages_of(arch) if stage.level == level)):
            for theirs, ours in _PARTS.items():
                yield Rename(rf"_blocks\.{number}\.{theirs}\.(.+)", rf"backbone.layer{index}.{place}.{ours}.\1")
            number += 1


EFFICIENTNET_LITE = Project(
    name="EfficientNet-Lite-PyTorch",
    marks=(r"_conv_stem\.weight", r"_blocks\.0\._depthwise_conv\.weight", r"_conv_head\.weight"),
    examine=examine,
    pixels=TPU,
    protocols={"tsn": SEGMENTS},
)
