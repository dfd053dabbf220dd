"""Fuse scores of several networks: weighted means of probabilities, clips matched by id, classes by name.

This is the late fusion of two-stream networks (Simonyan and Zisserman, 2014).
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tdpn_core.errors import ScoresError, UsageError
from tdpn_core.evaluation.class_mapping import class_columns, reordered
from tdpn_core.evaluation.metrics import label_ranks
from tdpn_core.evaluation.multilabel import label_loss, mean_average_precision
from tdpn_core.evaluation.score_file import Coverage, Scores
from tdpn_core.labels import Labels, is_multilabel, known
from tdpn_core.progress import SILENT, Progress
from tdpn_core.rng import derive

_TINY = np.finfo(np.float64).tiny
_ROUNDING = np.finfo(np.float64).eps

Probabilities = dict[str, npt.NDArray[np.float64]]


def align(parts: Sequence[Scores], *, allow_missing: bool = False, progress: Progress = SILENT) -> list[Scores]:
    """Return `parts` with the clips, in their order, and the classes of the first.

    Clips that one of them lacks are an error; with `allow_missing` they are left out everywhere.

    Raises:
        ScoresError: the clips, splits or labels differ.
        CheckpointError: the classes differ.
    """
    first = parts[0]
    common = set(first.ids).intersection(*(part.ids for part in parts))
    if not common:
        raise ScoresError("no clip has scores in all files", where=parts[-1].origin.checkpoint)
    for part in parts:
        lacking = [name for other in parts for name in other.ids if name not in set(part.ids)]
        if lacking and not allow_missing:
            what = f"lacks {len(lacking)} clips of the other scores, for example {lacking[0]!r}"
            hint = "score the same clips with all, or use --allow-missing to fuse the clips that all have"
            raise ScoresError(what, where=part.origin.checkpoint, hint=hint)
    ids = [name for name in first.ids if name in common]
    aligned = [_in_order(part, ids, first, progress) for part in parts]
    for part in aligned[1:]:
        for head, labels in aligned[0].labels.items():
            if labels.shape != part.labels[head].shape:
                what = f"clips have one {head} class in one file and several in another"
                raise ScoresError(what, where=part.origin.checkpoint)
            wrong = np.flatnonzero((labels != part.labels[head]).reshape(len(labels), -1).any(axis=1))
            if len(wrong):
                what = f"{head} label of {len(wrong)} clips differs from {first.origin.checkpoint}"
                raise ScoresError(f"{what}, for example {ids[wrong[0]]!r}", where=part.origin.checkpoint)
    return aligned


def fuse(parts: Sequence[Scores], weights: Sequence[float]) -> Scores:
    """Fuse aligned `parts`: average probabilities over the views of each, then over the parts with `weights`.

    The result has one view, whose logits are the logarithms of the fused probabilities, or for multi-label data those
    of the odds. Multi-label thresholds are averaged with the same weights, if all parts have some.

    Raises:
        UsageError: wrong number of weights, a negative one, or all zero.
    """
    shares = check_weights(weights, len(parts))
    mixed = mix([part.probabilities() for part in parts], shares)
    logits = {head: np.log(np.maximum(values, _TINY))[:, None] for head, values in mixed.items()}
    if parts[0].multilabel:
        odds = {head: values / np.maximum(1 - values, _ROUNDING) for head, values in mixed.items()}
        logits = {head: np.log(np.maximum(values, _TINY))[:, None] for head, values in odds.items()}
    first = parts[0].origin
    names = _names(parts)
    text = " + ".join(f"{weight:g} x {name}" for name, weight in zip(names, weights, strict=True))
    origin = dataclasses.replace(
        first,
        checkpoint=text,
        weights=hashlib.sha256("".join(part.origin.weights for part in parts).encode()).hexdigest(),
        model=" + ".join(dict.fromkeys(part.origin.model for part in parts)),
        views=", ".join(dict.fromkeys(part.origin.views for part in parts)),
        coverage=_coverage([part.origin.coverage for part in parts], len(parts[0].ids)),
        fused=dict(zip(names, map(float, weights), strict=True)),
        training=max((part.origin.training for part in parts), key=lambda known: known.clips if known else -1),
        validation={},
        thresholds=_mixed_thresholds([part.origin.thresholds for part in parts], shares),
    )
    return dataclasses.replace(parts[0], logits=logits, origin=origin)


def _mixed_thresholds(parts: Sequence[dict[str, list[float]]], shares: Sequence[float]) -> dict[str, list[float]]:
    """Return the weighted mean of the thresholds of heads that all parts have some for."""
    return {
        head: (np.asarray(shares) @ np.array([part[head] for part in parts])).tolist()
        for head in parts[0]
        if all(head in part for part in parts)
    }


def mix(parts: Sequence[Probabilities], weights: Sequence[float]) -> Probabilities:
    """Return the mean of probabilities (clips, classes) by head, with `weights` that sum to one."""
    return {
        head: sum((weight * part[head] for weight, part in zip(weights, parts, strict=True)), np.zeros_like(first))
        for head, first in parts[0].items()
    }


def check_weights(weights: Sequence[float], parts: int) -> list[float]:
    """Return `weights` scaled to sum to one.

    Raises:
        UsageError: wrong number of weights, a negative one, or all zero.
    """
    if len(weights) != parts:
        raise UsageError(f"{len(weights)} weights for {parts} score files", where="--fuse")
    if not all(0 <= weight < float("inf") for weight in weights) or sum(weights) == 0:
        raise UsageError(f"weights must be at least 0 and not all zero, not {list(weights)}", where="--fuse")
    return [weight / sum(weights) for weight in weights]


def _in_order(part: Scores, ids: list[str], first: Scores, progress: Progress) -> Scores:
    """Return `part` with the clips `ids` and the classes of `first`."""
    if part.origin.split != first.origin.split:
        what = f"scores of the {part.origin.split} split, the others are of {first.origin.split}"
        raise ScoresError(what, where=part.origin.checkpoint)
    owner = first.origin.checkpoint
    columns = class_columns(part.classes, first.classes, where=part.origin.checkpoint, owner=owner)
    for head in reordered(columns):
        progress.say(f"{part.origin.checkpoint}: {head} classes are in another order; matched by name")
    row = {name: number for number, name in enumerate(part.ids)}
    rows = np.array([row[name] for name in ids])
    labels = {}
    for head, values in part.labels.items():
        new_label = np.append(np.argsort(columns[head]), -1)  # the last entry is for -1, unlabelled
        labels[head] = values[rows][:, columns[head]] if is_multilabel(values) else new_label[values[rows]]
    return dataclasses.replace(
        part,
        ids=ids,
        classes=first.classes,
        labels=labels,
        logits={head: values[rows][:, :, columns[head]] for head, values in part.logits.items()},
    )


def _names(parts: Sequence[Scores]) -> list[str]:
    """Return each part's checkpoint, numbered if a name occurs twice."""
    names: list[str] = []
    for part in parts:
        name, number = part.origin.checkpoint, 1
        while (unique := name if number == 1 else f"{name} ({number})") in names:
            number += 1
        names.append(unique)
    return names


def _coverage(parts: Sequence[Coverage], scored: int) -> Coverage:
    missing: dict[str, str] = {}
    for part in parts:
        missing |= part.missing
    listed = max((part.listed for part in parts if part.listed is not None), default=None)
    on_disk, decoded = max(part.on_disk for part in parts), max(part.decoded for part in parts)
    return Coverage(listed=listed, on_disk=on_disk, decoded=decoded, scored=scored, missing=missing)


_STEPS = {2: 20, 3: 10, 4: 6}
"""Steps from 0 to 1 of each weight, by the number of parts; `_FEW` for more parts."""

_FEW = 4
_HALF = 1  # ends the random generator's path for splitting clips in halves


def search_weights(parts: Sequence[Scores]) -> list[float]:
    """Search a grid for the weights (summing to one) of aligned `parts` with the highest top-1, the mean over heads.

    For multi-label data it is the highest mAP. Ties are resolved by the higher mean log-likelihood, then by closeness
    to equal weights.

    Raises:
        UsageError: no clip has a label.
    """
    inside = {head: known(labels) for head, labels in parts[0].labels.items()}
    if not all(rows.any() for rows in inside.values()):
        raise UsageError("weights cannot be searched on clips without labels", where=parts[0].origin.split)
    labels = {head: values[inside[head]] for head, values in parts[0].labels.items()}
    probabilities = [{head: values[inside[head]] for head, values in part.probabilities().items()} for part in parts]

    def worth(weights: Sequence[float]) -> tuple[float, float, float]:
        mixed = mix(probabilities, weights)
        hits = [_worth(values, labels[head]) for head, values in mixed.items()]
        sure = [_log_likelihood(values, labels[head]) for head, values in mixed.items()]
        likelihood = round(float(np.mean(sure)), 9)  # ignore rounding errors of the sums
        return float(np.mean(hits)), likelihood, -max(abs(weight - 1 / len(parts)) for weight in weights)

    return max(_lattice(len(parts)), key=worth)


def split_in_half(scores: Scores) -> tuple[Scores, Scores]:
    """Split the clips into two fixed halves by their number: one to search on, the other to report.

    Raises:
        UsageError: there is only one clip.
    """
    count = len(scores.ids)
    if count < 2:
        raise UsageError("a single clip cannot be split in halves", where="--search-on")
    order = derive(0, count, _HALF).permutation(count)
    return take(scores, np.sort(order[: count // 2])), take(scores, np.sort(order[count // 2 :]))


def take(scores: Scores, rows: npt.NDArray[np.int64]) -> Scores:
    """Return the clips of the given rows."""
    return dataclasses.replace(
        scores,
        ids=[scores.ids[row] for row in rows.tolist()],
        labels={head: values[rows] for head, values in scores.labels.items()},
        logits={head: values[rows] for head, values in scores.logits.items()},
    )


def _lattice(parts: int) -> Iterator[list[float]]:
    """Yield weights that sum to one."""
    steps = _STEPS.get(parts, _FEW)
    for head in itertools.product(range(steps + 1), repeat=parts - 1):
        if sum(head) <= steps:
            yield [number / steps for number in (*head, steps - sum(head))]


def _worth(probabilities: npt.NDArray[np.float64], labels: Labels) -> float:
    if is_multilabel(labels):
        return mean_average_precision(probabilities, labels)
    return float((label_ranks(probabilities, labels) == 0).mean())


def _log_likelihood(probabilities: npt.NDArray[np.float64], labels: Labels) -> float:
    if is_multilabel(labels):
        return -label_loss(probabilities, labels)
    own = np.take_along_axis(probabilities, labels[:, None], axis=1)
    return float(np.log(np.maximum(own, 1e-12)).mean())
