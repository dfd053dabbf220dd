"""Initialise a network from the weights of another: copy what fits, inflate 2D kernels, report the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tdpn_core.errors import CheckpointError
from tdpn_core.model.attention import Attention
from tdpn_core.model.base import Network
from tdpn_core.model.blocks import Bottleneck
from tdpn_core.shards.manifest import Manifest
from tdpn_core.weights.convert import Imported
from tdpn_core.weights.names import Match, match_classes, usual_names
from tdpn_core.weights.rename_rules import COUNTER, Report, some

STEM = r"backbone\.(slow\.|fast\.|motion\.)?conv1\.weight|temporal_difference\.local\.conv1\.weight"
"""First convolutions; their kernel is averaged over channels if the target has another number of channels."""

BORROWED = (
    (r"backbone\.slow\.(.+)", r"backbone.\1"),
    (r"(?:temporal_difference\.local|backbone\.motion)\.(conv1\.weight)", r"backbone.\1"),
    (r"(?:temporal_difference\.local|backbone\.motion)\.(layer1\..+)", r"backbone.\1"),
    (r"(backbone\.layer\d\.\d+\.conv2)\.space\.(weight)", r"\1.\2"),
)
"""Entries that, if missing from the file, are initialised from another entry with the same role on frames."""

CLASSIFIER = r"(?:auxiliary_head\.)?head\.linear\.([^.]+)\.(?:weight|bias)"
"""Entries with one row per class; the group is their head."""

NOBODY: Mapping[str, Sequence[str]] = {}

SAME_NETWORK = "foreign weights fit only a network of the same depth and of width 1"


def start_from(model: Network, imported: Imported, manifest: Manifest | None = None) -> Report:
    """Fill `model`, trained for the classes of `manifest`, from a foreign checkpoint of the same depth.

    The file's class names are those that it contains, or the data's if all projects use one order for that data set.

    Raises:
        CheckpointError: other depth, incomplete backbone, or nothing fits; the model is then unchanged.
    """
    theirs, ours = imported.config, model.config
    if theirs.arch != ours.arch:
        raise CheckpointError(
            f"a {theirs.arch} cannot initialise a {ours.arch}", where=imported.report.source, hint=SAME_NETWORK
        )
    if ours.width != 1:
        raise CheckpointError(
            f"cannot initialise a network of width {ours.width:g}", where=imported.report.source, hint=SAME_NETWORK
        )
    lacking = [name for name in imported.report.unfilled if name.startswith("backbone.") and not name.endswith(COUNTER)]
    if lacking:
        raise CheckpointError(f"its backbone lacks {some(lacking)}", where=imported.report.source)
    report = transfer(
        model,
        imported.weights,
        imported.report.source,
        images=imported.layout == "NCHW",
        known=_foreign_classes(imported, manifest),
        wanted=manifest.classes if manifest else {},
    )
    names = imported.report.filled
    return Report(
        source=report.source,
        filled={name: names[origin] for name, origin in report.filled.items()},
        left_out={**{names[name]: why for name, why in report.left_out.items()}, **imported.report.left_out},
        unfilled=report.unfilled,
        notes=imported.report.notes + report.notes,
    )


def _foreign_classes(imported: Imported, manifest: Manifest | None) -> dict[str, Sequence[str]]:
    """Return the class names of each head of a foreign checkpoint, where they are certain."""
    found: dict[str, Sequence[str]] = {}
    for head, count in imported.config.num_classes.items():
        usual = usual_names(manifest, head, count) if manifest else None
        if names := imported.class_names(head) or usual:
            found[head] = names
    return found


def transfer(
    model: Network,
    weights: Mapping[str, Tensor],
    source: str,
    *,
    images: bool = False,
    known: Mapping[str, Sequence[str]] = NOBODY,
    wanted: Mapping[str, Sequence[str]] = NOBODY,
) -> Report:
    """Fill `model` with the matching parts of `weights`, the state of another of our networks.

    A kernel t x k x k over frames is the 1 x k x k kernel of a network of `images` (or single frames), copied t times
    and divided by t. A first convolution with other channels is the mean over the file's channels. Layers after an
    attention layer that the file lacks keep their initial values, so that these branches start at zero. Classifier rows
    are copied by class name, `known` in the file and `wanted` in the model, by head; rows of other classes keep their
    random initial values, and so does the classifier if its classes have no names or it is an image classifier.

    Raises:
        CheckpointError: nothing of the backbone fits; the model is then unchanged.
    """
    state = model.state_dict()
    untrained = _untrained(model, weights)
    matches = (
        {} if images else {head: match_classes(known[head], names) for head, names in wanted.items() if head in known}
    )
    filled: dict[str, str] = {}
    values: dict[str, Tensor] = {}
    for name, target in state.items():
        origin = _origin(name, weights)
        if origin is None or name in untrained or (images and origin.startswith("head.")):
            continue
        classifier = re.fullmatch(CLASSIFIER, name)
        if classifier:
            value = _rows(weights[origin], target, matches.get(classifier[1]), known.get(classifier[1], ()))
        else:
            value = fitted(weights[origin], target.shape, stem=re.fullmatch(STEM, name) is not None)
        if value is not None:
            values[name], filled[name] = value, origin
    if not any(name.startswith("backbone.") and not name.endswith(COUNTER) for name in filled):
        raise CheckpointError("none of its weights fit this network's backbone", where=source, hint=SAME_NETWORK)
    with torch.no_grad():
        for name, value in values.items():
            state[name].copy_(value)
    used = set(filled.values())
    return Report(
        source=source,
        filled=filled,
        left_out={name: _reason(name, state, untrained, images, known) for name in weights if name not in used},
        unfilled=tuple(name for name in state if name not in filled),
        notes=() if images else tuple(_class_notes(model, weights, matches)),
    )


def _rows(value: Tensor, target: Tensor, match: Match | None, names: Sequence[str]) -> Tensor | None:
    """Return `target` with the rows of matched classes from `value`; None if none match or the widths differ.

    Both have one row per class.
    """
    if match is None or not match.ours or len(value) != len(names) or len(target) != match.total:
        return None
    if value.shape[1:] != target.shape[1:]:
        return None
    filled = target.detach().clone()
    filled[list(match.ours)] = value[list(match.theirs)].to(filled)
    return filled


def _class_notes(model: Network, weights: Mapping[str, Tensor], matches: Mapping[str, Match]) -> Iterator[str]:
    """Yield what happens to each classifier that the file has, or could have."""
    for head, count in model.config.num_classes.items():
        if head in matches:
            yield matches[head].describe(head)
        elif f"head.linear.{head}.weight" in weights:
            yield f"{head}: the file does not name its classes; all {count} start untrained"


def fitted(value: Tensor, shape: torch.Size, *, stem: bool = False) -> Tensor | None:
    """Return `value` in `shape`: a stem averaged over channels, a kernel inflated in time; None if it does not fit."""
    if value.ndim == len(shape) == 5:
        if stem and value.shape[1] != shape[1]:
            value = value.mean(1, keepdim=True).repeat(1, shape[1], 1, 1, 1)
        if value.shape[2] == 1 and shape[2] > 1:
            value = value.repeat(1, 1, shape[2], 1, 1) / shape[2]
    return value if value.shape == shape else None


def _origin(name: str, weights: Mapping[str, Tensor]) -> str | None:
    """Return the file's entry that initialises `name`."""
    if name in weights:
        return name
    for pattern, other in BORROWED:
        match = re.fullmatch(pattern, name)
        if match and match.expand(other) in weights:
            return match.expand(other)
    return None


def _untrained(model: Network, weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Return entries next to attention that the file lacks, and why they keep their initial values."""
    kept: dict[str, str] = {}
    state = model.state_dict()
    for spot, part in model.named_modules():
        if not isinstance(part, Attention) or f"{spot}.qkv.weight" in weights:
            continue
        block = spot.removesuffix("conv2")
        kept |= {f"{spot}.weight": "replaced by attention"}
        norms = ("bn2.", "bn3.") if isinstance(model.get_submodule(block.rstrip(".")), Bottleneck) else ("bn2.",)
        for name in state:
            if name.startswith(tuple(block + norm for norm in norms)):
                kept[name] = "normalises attention, which starts untrained"
    return kept


def _reason(
    name: str, state: Mapping[str, Tensor], untrained: Mapping[str, str], images: bool, known: Mapping[str, Any]
) -> str:
    """Return why an entry of the file is not used."""
    if images and name.startswith("head."):
        return "the image classifier"
    if name in untrained:
        return untrained[name]
    if name not in state:
        return "this network has no such part"
    if classifier := re.fullmatch(CLASSIFIER, name):
        return "a classifier of other classes" if classifier[1] in known else "a classifier whose classes have no names"
    return "of another shape in this network"
