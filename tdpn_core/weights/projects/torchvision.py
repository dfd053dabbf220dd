"""torchvision's image classifiers: ResNets of depth 18 to 101, loaded as networks for clips of one frame."""

from __future__ import annotations

from tdpn_core.weights.project import Entries, Finding, Project, residual_depth
from tdpn_core.weights.projects.gluon import is_gluons
from tdpn_core.weights.protocol import IMAGENET, SEGMENTS
from tdpn_core.weights.rename_rules import Rename

RULES = (
    Rename(r"fc\.(weight|bias)", r"head.linear.action.\1"),
    Rename(r"((?:conv1|bn1|layer\d)\..+)", r"backbone.\1"),
)


def examine(entries: Entries) -> Finding:
    """Return a ResNet, with the classifier if the file has one."""
    settings = {"name": "tsn", "arch": residual_depth(entries, ""), "num_frames": 1}
    if "fc.weight" in entries.tensors:
        settings["num_classes"] = {"action": entries.shape("fc.weight")[0]}
    return Finding(settings=settings, rules=RULES, layout="NCHW")


TORCHVISION = Project(
    name="torchvision",
    marks=(r"conv1\.weight", r"bn1\.running_var", r"layer4\.0\.conv1\.weight"),
    examine=examine,
    tells=lambda entries: not is_gluons(entries),
    pixels=IMAGENET,
    protocols={"tsn": SEGMENTS},
)
