"""mit-han-lab/temporal-shift-module: TSM, and TSN in the same code, on RGB or on stacks of five flow fields."""

from __future__ import annotations

from typing import Any

from tdpn_core.errors import CheckpointError
from tdpn_core.weights.project import Entries, Finding, Project, refuse, residual_depth
from tdpn_core.weights.protocol import DENSE_8, IMAGENET, SEGMENTS, TWICE
from tdpn_core.weights.rename_rules import Rename

RULES = (
    Rename(r"base_model\.(layer\d\.\d+\.conv1)\.net\.(weight)", r"backbone.\1.\2"),
    Rename(r"(?:new_fc|base_model\.fc)\.(.+)", r"head.linear.action.\1"),
    Rename(r"base_model\.(.+)", r"backbone.\1"),
)


def examine(entries: Entries) -> Finding:
    """Return TSM if the first convolutions of blocks are wrapped, else TSN."""
    refuse(entries, r"base_model\..+\.nl\..+", "non-local blocks")
    refuse(entries, r"base_model\.layer\d\.\d+\.net\..+", "TSM's shift of whole blocks (shift_place='block')")
    plain = Entries({name.replace(".conv1.net.", ".conv1."): value for name, value in entries.tensors.items()})
    name = "tsm" if entries.has(r".+\.conv1\.net\.weight") else "tsn"
    settings: dict[str, Any] = {"name": name, "arch": residual_depth(plain, "base_model."), "num_frames": 8}
    classifier = next((layer for layer in ("new_fc", "base_model.fc") if f"{layer}.weight" in entries.tensors), None)
    if classifier:
        settings["num_classes"] = {"action": entries.shape(f"{classifier}.weight")[0]}
    channels = entries.shape("base_model.conv1.weight")[1]
    if channels not in (3, 10):
        raise CheckpointError(
            f"its first convolution takes {channels} channels, but RGB has 3 and five flow fields have 10"
        )
    settings["modality"] = "rgb" if channels == 3 else "flow"
    dense = "dense" in entries.file_name
    return Finding(settings=settings, rules=RULES, layout="N(TC)HW", protocol=DENSE_8 if dense else None)


TSM = Project(
    name="mit-han-lab/temporal-shift-module",
    marks=(r"base_model\.conv1\.weight", r"base_model\.layer4\.0\..+"),
    examine=examine,
    clip_in_name=r"_segment(?P<segments>\d+)_",
    pixels=IMAGENET,
    protocols={"tsm": TWICE, "tsn": SEGMENTS},
)
