"""Starting a network from the weights of another: what fits is taken, images are inflated, the rest is named."""

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
from tdpn_core.weights.names import Match, match_classes, own_names, usual_names
from tdpn_core.weights.rename_rules import COUNTER, Report, some

STEM = r"backbone\.(slow\.|fast\.|motion\.)?conv1\.weight|temporal_difference\.local\.conv1\.weight"
"""First convolutions, whose kernel is averaged over its channels where the target has another number of them."""

BORROWED = (
    (r"backbone\.slow\.(.+)", r"backbone.\1"),
    (r"(?:temporal_difference\.local|backbone\.motion)\.(conv1\.weight)", r"backbone.\1"),
    (r"(?:temporal_difference\.local|backbone\.motion)\.(layer1\..+)", r"backbone.\1"),
    (r"(backbone\.layer\d\.\d+\.conv2)\.space\.(weight)", r"\1.\2"),
)
"""Entries that start, where the file has none of their name, from another that does the same work on frames."""

CLASSIFIER = r"(?:auxiliary_head\.)?head\.linear\.([^.]+)\.(?:weight|bias)"
"""Entries of one row a class, and their head."""

NOBODY: Mapping[str, Sequence[str]] = {}

SAME_NETWORK = "weights of other projects fit the same depth and width 1 only"


def start_from(model: Network, imported: Imported, manifest: Manifest | None = None) -> Report:
    """Fill `model`, whose classes are those of `manifest`, from a foreign checkpoint of the same depth.

    The names of its classes are those that the file holds, or the data's if every project numbers these alike.

    Raises:
        CheckpointError: of another depth, without a whole backbone, or nothing in it fits; the model is untouched.
    """
    theirs, ours = imported.config, model.config
    if theirs.arch != ours.arch:
        raise CheckpointError(
            f"a {theirs.arch} cannot be the start of a {ours.arch}", where=imported.report.source, hint=SAME_NETWORK
        )
    if ours.width != 1:
        raise CheckpointError(
            f"cannot be the start of a network of width {ours.width:g}", where=imported.report.source, hint=SAME_NETWORK
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
    """Names of the classes of each head of a foreign checkpoint, where they are certain."""
    found: dict[str, Sequence[str]] = {}
    for head, count in imported.config.num_classes.items():
        own = own_names(imported.meta)
        usual = usual_names(manifest, head, count) if manifest else None
        if names := own if len(own) == count else usual:
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
    """Fill `model` with what fits of `weights`, the state of another of our networks.

    A kernel over frames t x k x k is the 1 x k x k of a network of `images` (or of single frames), copied t times and
    divided by t. A first convolution over other channels is the mean over those of the file. What follows attention
    that the file has not is left at its start, so that these branches begin as zero. Rows of a classifier are taken
    by the names of their classes, `known` ones of the file and `wanted` ones of the model, by head; rows of other
    classes start new, and so does a classifier whose classes have no names or are those of images.

    Raises:
        CheckpointError: nothing of the backbone fits; the model is then untouched.
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
        raise CheckpointError("nothing in it fits this network's backbone", where=source, hint=SAME_NETWORK)
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
    """`target` with the rows of matched classes out of `value`; None: there is none, or the layers are of other widths.

    Both have one row a class.
    """
    if match is None or not match.ours or len(value) != len(names) or len(target) != match.total:
        return None
    if value.shape[1:] != target.shape[1:]:
        return None
    filled = target.detach().clone()
    filled[list(match.ours)] = value[list(match.theirs)].to(filled)
    return filled


def _class_notes(model: Network, weights: Mapping[str, Tensor], matches: Mapping[str, Match]) -> Iterator[str]:
    """What became of each classifier that the file has, or could have had."""
    for head, count in model.config.num_classes.items():
        if head in matches:
            yield matches[head].describe(head)
        elif f"head.linear.{head}.weight" in weights:
            yield f"{head}: the file does not name its classes, all {count} start new"


def fitted(value: Tensor, shape: torch.Size, *, stem: bool = False) -> Tensor | None:
    """`value` in `shape`: a stem averaged over its channels, a kernel inflated in time; None: it does not fit."""
    if value.ndim == len(shape) == 5:
        if stem and value.shape[1] != shape[1]:
            value = value.mean(1, keepdim=True).repeat(1, shape[1], 1, 1, 1)
        if value.shape[2] == 1 and shape[2] > 1:
            value = value.repeat(1, 1, shape[2], 1, 1) / shape[2]
    return value if value.shape == shape else None


def _origin(name: str, weights: Mapping[str, Tensor]) -> str | None:
    """The entry that `name` starts from."""
    if name in weights:
        return name
    for pattern, other in BORROWED:
        match = re.fullmatch(pattern, name)
        if match and match.expand(other) in weights:
            return match.expand(other)
    return None


def _untrained(model: Network, weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Entries at attention that the file has not, and why they keep their start."""
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
    """Why an entry of the file was not used."""
    if images and name.startswith("head."):
        return "the image classifier"
    if name in untrained:
        return untrained[name]
    if name not in state:
        return "this network has no such part"
    if classifier := re.fullmatch(CLASSIFIER, name):
        return "a classifier of other classes" if classifier[1] in known else "a classifier whose classes have no names"
    return "of another shape in this network"
