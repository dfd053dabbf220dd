"""MCG-NJU/TDN with 8 or 16 segments, depths 50 and 101."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tdpn_core.weights.project import Entries, Finding, Project, residual_depth
from tdpn_core.weights.protocol import IMAGENET, SEGMENTS
from tdpn_core.weights.rename_rules import Drop, Rename

BIAS = r"base_model\..*(conv\d|downsample\.0)\.bias"

RULES = (
    Drop(r"base_model\.conv1_temp\..+", "saved, but never used by the reference"),
    Drop(BIAS, "folded into the running mean of the following normalisation"),
    Rename(r"new_fc\.(.+)", r"head.linear.action.\1"),
    Rename(r"base_model\.conv1_5\.0\.(.+)", r"backbone.motion.conv1.\1"),
    Rename(r"base_model\.conv1_5\.1\.(.+)", r"backbone.motion.bn1.\1"),
    Rename(r"base_model\.resnext_layer1\.(.+)", r"backbone.motion.layer1.\1"),
    Rename(r"base_model\.(layer\d)_bak\.(\d+)\.mse\.conv1\.(.+)", r"backbone.\1.\2.difference.reduce.conv.\3"),
    Rename(r"base_model\.(layer\d)_bak\.(\d+)\.mse\.bn1\.(.+)", r"backbone.\1.\2.difference.reduce.bn.\3"),
    Rename(r"base_model\.(layer\d)_bak\.(\d+)\.mse\.conv2\.(.+)", r"backbone.\1.\2.difference.smooth.\3"),
    Rename(
        r"base_model\.(layer\d)_bak\.(\d+)\.mse\.conv3_smallscale2\.(.+)", r"backbone.\1.\2.difference.coarse.conv.\3"
    ),
    Rename(r"base_model\.(layer\d)_bak\.(\d+)\.mse\.bn3_smallscale2\.(.+)", r"backbone.\1.\2.difference.coarse.bn.\3"),
    Rename(
        r"base_model\.(layer\d)_bak\.(\d+)\.mse\.conv3_smallscale4\.(.+)", r"backbone.\1.\2.difference.fine.conv.\3"
    ),
    Rename(r"base_model\.(layer\d)_bak\.(\d+)\.mse\.bn3_smallscale4\.(.+)", r"backbone.\1.\2.difference.fine.bn.\3"),
    Rename(r"base_model\.(layer\d)_bak\.(\d+)\.mse\.conv3\.(.+)", r"backbone.\1.\2.difference.restore.conv.\3"),
    Rename(r"base_model\.(layer\d)_bak\.(\d+)\.mse\.bn3\.(.+)", r"backbone.\1.\2.difference.restore.bn.\3"),
    Rename(r"base_model\.(layer\d)_bak\.(\d+)\.shift\.conv\.(.+)", r"backbone.\1.\2.shift.\3"),
    Rename(r"base_model\.(layer\d)_bak\.(.+)", r"backbone.\1.\2"),
    Rename(r"base_model\.(conv1|bn1)\.(.+)", r"backbone.\1.\2"),
)


def examine(entries: Entries) -> Finding:
    """Determine the settings; the weights of the first sums depend on the number of segments."""
    plain = Entries({name.replace("_bak.", "."): value for name, value in entries.tensors.items()})
    settings: dict[str, Any] = {"name": "tdn", "arch": residual_depth(plain, "base_model."), "num_frames": 8}
    if "new_fc.weight" in entries.tensors:
        settings["num_classes"] = {"action": entries.shape("new_fc.weight")[0]}
    return Finding(settings=settings, rules=RULES, layout="N(TC)HW", prepare=without_biases)


def without_biases(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Subtract every convolution's bias from the running mean of the following normalisation: same outputs."""
    changed = dict(tensors)
    for name, bias in tensors.items():
        if not re.fullmatch(BIAS, name) or "conv1_temp" in name:
            continue
        spot = name.removesuffix(".bias")
        norm = re.sub(r"conv(\d)$", r"bn\1", spot) if "conv" in spot else spot.removesuffix("0") + "1"
        mean = f"{norm}.running_mean"
        changed[mean] = changed[mean] - bias
    return changed


TDN = Project(
    name="MCG-NJU/TDN",
    marks=(r"base_model\.conv1_5\.0\.weight", r"base_model\.layer1_bak\.0\..+"),
    examine=examine,
    pixels=IMAGENET,
    protocols={"tdn": SEGMENTS},
)
