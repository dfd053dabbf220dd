"""piergiaj/pytorch-i3d: Inception I3D for Kinetics and Charades, on RGB or optical flow."""

from __future__ import annotations

from typing import Any

from tdpn_core.errors import CheckpointError
from tdpn_core.weights.project import Entries, Finding, Project
from tdpn_core.weights.protocol import SYMMETRIC, Protocol
from tdpn_core.weights.rename_rules import Rename

RULES = (
    Rename(r"logits\.conv3d\.(.+)", r"head.linear.action.\1"),
    Rename(r"(.+)\.conv3d\.(.+)", r"backbone.\1.conv.\2"),
    Rename(r"(.+)\.bn\.(.+)", r"backbone.\1.bn.\2"),
)


def examine(entries: Entries) -> Finding:
    """Determine RGB or flow from the channels of the first convolution."""
    channels = entries.shape("Conv3d_1a_7x7.conv3d.weight")[1]
    if channels not in (2, 3):
        raise CheckpointError(f"its first convolution takes {channels} channels, but RGB has 3 and flow has 2")
    settings: dict[str, Any] = {"name": "i3d", "arch": "inception", "modality": "flow" if channels == 2 else "rgb"}
    if "logits.conv3d.weight" in entries.tensors:
        settings["num_classes"] = {"action": entries.shape("logits.conv3d.weight")[0]}
    return Finding(settings={**settings, "num_frames": 64}, rules=RULES, answer="steps")


PYTORCH_I3D = Project(
    name="pytorch-i3d",
    marks=(r"Conv3d_1a_7x7\.conv3d\.weight", r"Mixed_5c\.b0\.conv3d\.weight"),
    examine=examine,
    pixels=SYMMETRIC,
    flow_pixels=SYMMETRIC,
    protocols={"i3d": Protocol("dense", 1, "1x1")},
)
