"""torchvision's video classifiers: R(2+1)D, R3D and MC3 of depth 18 (and of 34, with the same names)."""

from __future__ import annotations

from typing import Any

from tdpn_core.recipes.auto_recipe import Pixels
from tdpn_core.weights.project import Entries, Finding, Project, depth
from tdpn_core.weights.protocol import Protocol
from tdpn_core.weights.rename_rules import Rename

HEAD = Rename(r"fc\.(weight|bias)", r"head.linear.action.\1")

CUBES = (
    HEAD,
    Rename(r"stem\.0\.(weight)", r"backbone.conv1.\1"),
    Rename(r"stem\.1\.(.+)", r"backbone.bn1.\1"),
    Rename(r"(layer\d\.\d+)\.conv(\d)\.0\.(weight)", r"backbone.\1.conv\2.\3"),
    Rename(r"(layer\d\.\d+)\.conv(\d)\.1\.(.+)", r"backbone.\1.bn\2.\3"),
    Rename(r"(layer\d\.\d+\.downsample\..+)", r"backbone.\1"),
)

PAIRS = (
    HEAD,
    Rename(r"stem\.0\.(weight)", r"backbone.conv1.space.\1"),
    Rename(r"stem\.1\.(.+)", r"backbone.conv1.bn.\1"),
    Rename(r"stem\.3\.(weight)", r"backbone.conv1.time.\1"),
    Rename(r"stem\.4\.(.+)", r"backbone.bn1.\1"),
    Rename(r"(layer\d\.\d+)\.conv(\d)\.0\.0\.(weight)", r"backbone.\1.conv\2.space.\3"),
    Rename(r"(layer\d\.\d+)\.conv(\d)\.0\.1\.(.+)", r"backbone.\1.conv\2.bn.\3"),
    Rename(r"(layer\d\.\d+)\.conv(\d)\.0\.3\.(weight)", r"backbone.\1.conv\2.time.\3"),
    Rename(r"(layer\d\.\d+)\.conv(\d)\.1\.(.+)", r"backbone.\1.bn\2.\3"),
    Rename(r"(layer\d\.\d+\.downsample\..+)", r"backbone.\1"),
)


def examine(entries: Entries) -> Finding:
    """Determine R(2+1)D from its pairs of convolutions, MC3 from its last stage's kernels; else R3D."""
    counts = [len(entries.distinct(rf"layer{stage}\.(\d+)\..+")) for stage in range(1, 5)]
    settings: dict[str, Any] = {"arch": depth(counts, bottleneck=False), "num_frames": 16, "input_size": 112}
    if "fc.weight" in entries.tensors:
        settings["num_classes"] = {"action": entries.shape("fc.weight")[0]}
    if entries.has(r"stem\.3\.weight"):
        return Finding(settings={**settings, "name": "r2plus1d"}, rules=PAIRS)
    mixed = entries.time("layer4.0.conv1.0.weight") == 1
    return Finding(settings={**settings, "name": "r3d", "mixed": mixed}, rules=CUBES)


TORCHVISION_VIDEO = Project(
    name="torchvision's video models",
    marks=(r"stem\.0\.weight", r"layer1\.0\.conv1\.0\.(?:3\.)?weight"),
    examine=examine,
    pixels=Pixels((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)),
    protocols={"r2plus1d": Protocol("dense", 2, "5x1", 128), "r3d": Protocol("dense", 2, "5x1", 128)},
)
