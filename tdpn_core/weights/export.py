"""Write a network's weights under another project's names, as safetensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from safetensors.torch import save
from torch import Tensor

from tdpn_core.config.family_settings import PyramidConfig, ShiftConfig
from tdpn_core.errors import CheckpointError
from tdpn_core.files import write_bytes
from tdpn_core.model.base import Network
from tdpn_core.weights.projects import tpn
from tdpn_core.weights.rename_rules import Rename, Report, Rule

Names = Literal["torchvision", "decisionforce/TPN"]

IMAGE = r"backbone\.((?:conv1\.weight|bn1\..+)|layer\d\.\d+\.(?:conv\d\.weight|bn\d\..+|downsample\.[01]\..+))"
"""Parameters that a 2D ResNet of torchvision has."""


def export_weights(model: Network, path: Path, *, names: Names = "torchvision") -> Report:
    """Write the weights of `model` to `path` under `names`; skip those that the other project has no name for.

    With torchvision's names, a kernel over t frames is summed over time, the inverse of inflation: the result is a
    standard 2D ResNet. With TPN's names, the network is written unchanged, including its neck.

    Returns:
        A report: each entry of the file with our entry that it comes from, and our entries that are left out.

    Raises:
        CheckpointError: no entry of the network has a name in that project.
    """
    rename = _to_torchvision if names == "torchvision" else _to_tpn(model)
    written: dict[str, Tensor] = {}
    sources: dict[str, str] = {}
    left_out: dict[str, str] = {}
    heads = len(model.config.num_classes)
    for name, value in model.state_dict().items():
        theirs = rename(name) if heads == 1 or not name.startswith("head.") else None
        if theirs is None:
            left_out[name] = f"{names} has no such part"
            continue
        flat = value.ndim == 5 and (names == "torchvision" or isinstance(model.config, ShiftConfig))
        flat = flat and name.startswith("backbone.")
        written[theirs] = (value.sum(2) if flat else value).detach().cpu().contiguous()
        sources[theirs] = name
    if not any(name.startswith("backbone.") for name in sources.values()):
        raise CheckpointError(f"{names} has no names for the weights of a {model.config.name} {model.config.arch}")
    write_bytes(path, save(written, metadata={"format": "pt"}))
    return Report(source=str(path), filled=sources, left_out=left_out, unfilled=())


def _to_torchvision(name: str) -> str | None:
    if match := re.fullmatch(IMAGE, name):
        return match[1]
    match = re.fullmatch(r"head\.linear\.\w+\.(weight|bias)", name)
    return f"fc.{match[1]}" if match else None


def _to_tpn(model: Network) -> Callable[[str], str | None]:
    levels = model.config.levels if isinstance(model.config, PyramidConfig) else ()
    prefixes = inverted(tpn.neck_rules("necks.", levels))
    prefixes |= {f"head.linear.{head}.": "cls_head.fc_cls." for head in model.config.num_classes}

    def rename(name: str) -> str | None:
        if re.fullmatch(IMAGE, name):
            return name
        ours = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
        return prefixes[ours] + name.removeprefix(ours) if ours else None

    return rename


def inverted(rules: Sequence[Rule]) -> dict[str, str]:
    """Return our prefix to theirs, for rules that change only what precedes the last part of a name."""
    tail = r"\.(.+)"
    return {
        rule.name.removesuffix(r"\1"): rule.pattern.removesuffix(tail).replace(r"\.", ".") + "."
        for rule in rules
        if isinstance(rule, Rename) and rule.pattern.endswith(tail) and rule.name.endswith(r".\1")
    }
