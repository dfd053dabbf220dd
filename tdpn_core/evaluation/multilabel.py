"""Metrics of multi-label scores: average precision, and decisions by a threshold for each class."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tdpn_core.errors import UsageError
from tdpn_core.evaluation.metrics import Interval, check_scores, percentiles
from tdpn_core.rng import derive

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
"""(clips, classes), 1 for each class of a clip and 0 for the others."""

USUAL_THRESHOLD = 0.5
_TINY = 1e-12
_RESAMPLES = 500
_INTERVAL = 1  # last part of the random stream's path


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelMetrics:
    """Results for one class of multi-label data."""

    name: str
    clips: int
    """Number of clips with this class."""

    average_precision: float | None
    """None without such clips."""

    threshold: float
    """Probability from which a clip is said to have the class."""

    precision: float | None
    """Share of the clips said to have the class that have it; None if there are none."""

    recall: float | None
    """Share of the clips with the class that are said to have it; None if there are none."""

    f1: float | None
    """Harmonic mean of precision and recall; None if no clip has the class."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultilabelMetrics:
    """Metrics on labelled clips of multi-label data. All are in [0, 1]."""

    clips: int
    map: float
    """Mean average precision (mAP, macro): mean of the classes' average precisions, over classes with clips."""

    map_interval: Interval
    """95 % bootstrap interval of `map`."""

    map_micro: float
    """Average precision over all pairs of clip and class together."""

    map_charades: float
    """`map` as Charades defines it: clips without any label rank last."""

    f1: float
    """Mean of the classes' F1 (macro), over classes with clips."""

    f1_micro: float
    """F1 over all pairs of clip and class together."""

    first_right: float
    """Share of the clips with a class whose most probable class is one of theirs."""

    classes: tuple[LabelMetrics, ...]
    """In label order."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ThresholdsFit:
    """Thresholds of the classes of a head, and their effect on the clips that they were chosen on."""

    thresholds: list[float]
    clips: int
    f1_before: float
    """Macro F1 with the thresholds that the checkpoint had; 0.5 without any."""

    f1_after: float


def fit_thresholds(scores: Floats, labels: Rows, before: Sequence[float] | None) -> ThresholdsFit:
    """Return the thresholds with the highest F1 of each class on labelled clips, and their effect."""
    found = best_thresholds(scores, labels)
    return ThresholdsFit(
        thresholds=found,
        clips=len(labels),
        f1_before=macro_f1(scores, labels, before or [USUAL_THRESHOLD] * labels.shape[1]),
        f1_after=macro_f1(scores, labels, found),
    )


def measure_labels(
    scores: Floats, labels: Rows, *, ids: Sequence[str], classes: Sequence[str], thresholds: Sequence[float]
) -> MultilabelMetrics:
    """Compare probabilities `scores` (clips, classes) with `labels` (clips, classes).

    Args:
        scores: probability of each class.
        labels: labelled clips, which may have no class.
        ids: clips' names, for messages.
        classes: names.
        thresholds: probability of each class from which a clip is said to have it.

    Raises:
        UsageError: there are no clips, or no clip has a class.
        DatasetError: the number of scores differs from the number of classes.
        TdpnError: a score is not finite.
    """
    check_scores(scores, ids, classes)
    if not labels.any():
        raise UsageError("no clip has any of the classes, so there is nothing to measure")
    precisions = average_precisions(scores, labels)
    said = scores >= np.asarray(thresholds)
    rows = tuple(
        _row(name, precisions[label], thresholds[label], said[:, label], labels[:, label] == 1)
        for label, name in enumerate(classes)
    )
    return MultilabelMetrics(
        clips=len(labels),
        map=mean_of_met(precisions),
        map_interval=_interval(scores, labels),
        map_micro=_precision(scores.ravel(), labels.ravel()),
        map_charades=mean_of_met(average_precisions(_empty_last(scores, labels), labels)),
        f1=float(np.mean([row.f1 for row in rows if row.f1 is not None])),
        f1_micro=_f1(said.ravel(), labels.ravel() == 1),
        first_right=float(first_hits(scores, labels)[labels.any(axis=1)].mean()),
        classes=rows,
    )


def average_precisions(scores: Floats, labels: Rows) -> Floats:
    """Return (classes,) the average precision of each class; NaN for a class without clips.

    It is scikit-learn's: the mean of the precision over the clips with the class, in the order of their scores, where
    equal scores count as one.
    """
    met = (labels == 1).any(axis=0)
    return np.array(
        [_precision(scores[:, label], labels[:, label]) if met[label] else np.nan for label in range(labels.shape[1])]
    )


def mean_average_precision(scores: Floats, labels: Rows) -> float:
    """Return the mean of `average_precisions` over classes with clips; NaN if there are none."""
    return mean_of_met(average_precisions(scores, labels))


def mean_precision(scores: Floats, labels: Rows) -> float:
    """Return mAP as `mean_average_precision` does, but with equal scores in the order of the clips; much faster."""
    order = np.argsort(-scores, axis=0, kind="stable")
    hits = np.take_along_axis(labels == 1, order, axis=0)
    own = hits.sum(axis=0)
    precision = np.cumsum(hits, axis=0) / np.arange(1, len(scores) + 1)[:, None]
    sums = (precision * hits).sum(axis=0)
    return float((sums[own > 0] / own[own > 0]).mean())


def mean_of_met(precisions: Floats) -> float:
    """Return the mean over the classes with clips; NaN if there are none."""
    met = precisions[~np.isnan(precisions)]
    return float(met.mean()) if len(met) else float("nan")


def label_loss(scores: Floats, labels: Rows) -> float:
    """Return the mean over the clips of the binary cross entropy, summed over the classes."""
    own = np.where(labels == 1, scores, 1 - scores)
    return float(-np.log(np.maximum(own, _TINY)).sum(axis=1).mean())


def first_hits(scores: Floats, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return (clips,) whether the most probable class is one of the clip's; `labels` are (clips,) or (clips, classes).

    Of equally probable classes, the first one counts.
    """
    first = scores.argmax(axis=1)
    own = first if labels.ndim == 1 else np.take_along_axis(labels, first[:, None], axis=1)[:, 0]
    hits: npt.NDArray[np.bool_] = own == (labels if labels.ndim == 1 else 1)
    return hits


def best_thresholds(scores: Floats, labels: Rows) -> list[float]:
    """Return, for each class, the threshold with the highest F1 on these clips; 0.5 for a class that no clip has.

    It is in the middle between the lowest probability that is accepted and the next one below it. Of equal F1, the
    highest threshold is used.
    """
    return [_best_threshold(scores[:, label], labels[:, label] == 1) for label in range(labels.shape[1])]


def macro_f1(scores: Floats, labels: Rows, thresholds: Sequence[float]) -> float:
    """Return the mean over the classes with clips of F1 at `thresholds`."""
    met = np.flatnonzero((labels == 1).any(axis=0)).tolist()
    return float(np.mean([_f1(scores[:, label] >= thresholds[label], labels[:, label] == 1) for label in met]))


def _best_threshold(scores: Floats, own: npt.NDArray[np.bool_]) -> float:
    if not own.any():
        return USUAL_THRESHOLD
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    accepted = np.arange(1, len(ranked) + 1)
    f1 = 2 * np.cumsum(own[order]) / (accepted + own.sum())
    ends = np.append(ranked[1:] < ranked[:-1], True)  # equal scores are accepted together
    best = int(np.where(ends, f1, -1).argmax())
    below = float(ranked[best + 1]) if best + 1 < len(ranked) else 0.0
    return (float(ranked[best]) + below) / 2


def _row(
    name: str, precision: float, threshold: float, said: npt.NDArray[np.bool_], own: npt.NDArray[np.bool_]
) -> LabelMetrics:
    hits, clips, predicted = int((said & own).sum()), int(own.sum()), int(said.sum())
    return LabelMetrics(
        name=name,
        clips=clips,
        average_precision=None if np.isnan(precision) else float(precision),
        threshold=float(threshold),
        precision=hits / predicted if predicted else None,
        recall=hits / clips if clips else None,
        f1=_f1(said, own) if clips else None,
    )


def _f1(said: npt.NDArray[np.bool_], own: npt.NDArray[np.bool_]) -> float:
    total = int(said.sum()) + int(own.sum())
    return 2 * int((said & own).sum()) / total if total else 0.0


def _precision(scores: Floats, labels: Rows) -> float:
    from sklearn.metrics import average_precision_score  # takes a second, needed only for evaluation

    return float(average_precision_score(labels == 1, scores))


def _empty_last(scores: Floats, labels: Rows) -> Floats:
    return np.where((labels == 1).any(axis=1)[:, None], scores, -1.0)


def _interval(scores: Floats, labels: Rows) -> Interval:
    """Return the bootstrap interval of mAP: clips are drawn with replacement, `_RESAMPLES` times."""
    draws = derive(0, len(labels), _INTERVAL)
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked = np.take_along_axis(labels == 1, order, axis=0)
    found = []
    for _ in range(_RESAMPLES):
        times = np.bincount(draws.integers(len(labels), size=len(labels)), minlength=len(labels))
        counts = times[order]
        hits = np.cumsum(ranked * counts, axis=0)
        seen = np.cumsum(counts, axis=0)
        weights = ranked * counts
        own = weights.sum(axis=0)
        precision = np.divide(hits, seen, out=np.zeros(hits.shape), where=seen > 0)
        sums = (precision * weights).sum(axis=0)
        if own.any():
            found.append(float((sums[own > 0] / own[own > 0]).mean()))
    return percentiles(np.array(found))
