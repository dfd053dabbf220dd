"""Metrics of scores: top-k, mean class accuracy, calibration, confusion, a row for each class."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tdpn_core import defaults
from tdpn_core.errors import DatasetError, TdpnError, UsageError
from tdpn_core.rng import derive

Scores = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """One class's row."""

    name: str
    clips: int
    """Clips of this class."""

    accuracy: float | None
    """Share of its clips that were recognised (recall); None without clips."""

    precision: float | None
    """Share of the clips predicted as this class that are; None where it was never predicted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metrics:
    """What a model's scores on labelled clips are worth. Every share lies in [0, 1]."""

    clips: int
    """Clips that were scored: the denominator of everything here."""

    top: dict[int, float]
    """For each k, the share of clips whose class is among the k of highest score."""

    mean_class_accuracy: float
    """Mean of the classes' accuracies, over those that have clips."""

    top_intervals: dict[int, Interval]
    """95 % bootstrap interval of each top-k."""

    mean_class_interval: Interval
    """95 % bootstrap interval of the mean class accuracy."""

    calibration: Calibration

    confusion: npt.NDArray[np.int64]
    """Clips of each class (rows) predicted as each class (columns), shape (classes, classes)."""

    classes: tuple[ClassMetrics, ...]
    """In the order of the labels."""


def measure(
    scores: Scores, labels: Labels, *, ids: Sequence[str], classes: Sequence[str], topk: Sequence[int] = defaults.TOP_K
) -> Metrics:
    """Compare probabilities `scores` (clips, classes) with `labels` (clips,).

    Each k is cut to the number of classes. Of equal scores the class of the lower label ranks first, so that a
    constant score earns what always guessing the first class earns (scikit-learn's top-k ranks the last one first).

    Raises:
        UsageError: no clip, or a k below 1.
        DatasetError: a label that is no class, or as many scores as there are not classes.
        TdpnError: a score that is not finite. Each names the clip.
    """
    _check(scores, labels, ids, classes, topk)
    confusion = _confusion(labels, scores.argmax(axis=1), len(classes))
    rows = tuple(_row(name, label, confusion) for label, name in enumerate(classes))
    top = {k: top_k(scores, labels, k) for k in sorted({min(k, len(classes)) for k in topk})}
    return Metrics(
        clips=len(labels),
        top=top,
        mean_class_accuracy=float(np.mean([row.accuracy for row in rows if row.accuracy is not None])),
        top_intervals={k: share_interval(round(share * len(labels)), len(labels)) for k, share in top.items()},
        mean_class_interval=mean_class_interval(confusion.diagonal(), confusion.sum(axis=1)),
        calibration=calibrate(scores, labels),
        confusion=confusion,
        classes=rows,
    )


def top_k(scores: Scores, labels: Labels, k: int) -> float:
    """Share of the clips whose class is among the `k` of highest score; the lower label wins a tie."""
    return float((label_ranks(scores, labels) < k).mean())


def label_ranks(scores: Scores, labels: Labels) -> Labels:
    """How many classes rank before each clip's own, (clips,), from scores (clips, classes)."""
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    lower = np.arange(scores.shape[1]) < labels[:, None]
    ranks: Labels = ((scores > own) | ((scores == own) & lower)).sum(axis=1)
    return ranks


def _confusion(labels: Labels, predicted: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.int64]:
    from sklearn.metrics import confusion_matrix  # a second that only an evaluation needs to wait

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A single label was found", UserWarning)  # the classes are given all the same
        return np.asarray(confusion_matrix(labels, predicted, labels=np.arange(classes)), dtype=np.int64)


def _row(name: str, label: int, confusion: npt.NDArray[np.int64]) -> ClassMetrics:
    clips, predicted, hits = int(confusion[label].sum()), int(confusion[:, label].sum()), int(confusion[label, label])
    accuracy = hits / clips if clips else None
    return ClassMetrics(name=name, clips=clips, accuracy=accuracy, precision=hits / predicted if predicted else None)


def _check(scores: Scores, labels: Labels, ids: Sequence[str], classes: Sequence[str], topk: Sequence[int]) -> None:
    if min(topk, default=0) < 1:
        raise UsageError(f"--topk must be numbers from 1 on, not {list(topk)}")
    if len(labels) == 0:
        raise UsageError("there is no labelled clip to measure on")
    assert len(scores) == len(labels) == len(ids)
    if scores.shape[1] != len(classes):
        what = f"{scores.shape[1]} scores a clip, but {len(classes)} classes"
        raise DatasetError(what, where=ids[0], hint="the scores are another data set's, or its classes have changed")
    wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if len(wrong):
        what = f"label {labels[wrong[0]]} is not among the {len(classes)} classes"
        raise DatasetError(what, where=ids[wrong[0]])
    broken = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if len(broken):
        what = f"{len(broken)} of {len(scores)} clips have a score that is not finite, this one first"
        raise TdpnError(what, where=ids[broken[0]], hint="the weights or the clip's pixels are broken")


BINS = 15
"""Of equal width, as in Guo et al., "On Calibration of Modern Neural Networks", 2017."""


@dataclasses.dataclass(frozen=True)
class Bin:
    """The clips whose highest probability lies in (`low`, `high`]."""

    low: float
    high: float
    clips: int
    confidence: float
    """Mean of their highest probabilities."""

    accuracy: float
    """Share of them that were recognised."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How confidence and accuracy go together."""

    error: float
    """Mean over the clips of |confidence - accuracy| of their bin."""

    bins: tuple[Bin, ...]
    """Those that have clips, from low confidence to high."""


def calibrate(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> Calibration:
    """Compare the highest probability of each clip, of (clips, classes), with whether it was right."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, BINS + 1)
    place = np.clip(np.digitize(confidence, edges, right=True) - 1, 0, BINS - 1)
    bins = []
    for number in np.unique(place).tolist():
        own = place == number
        mean, share = float(confidence[own].mean()), float(right[own].mean())
        bins.append(Bin(float(edges[number]), float(edges[number + 1]), int(own.sum()), mean, share))
    error = sum(one.clips * abs(one.confidence - one.accuracy) for one in bins) / len(labels)
    return Calibration(error, tuple(bins))


RESAMPLES = 2000
LEVEL = 0.95

Interval = tuple[float, float]


def share_interval(hits: int, clips: int, *, seed: int = 0) -> Interval:
    """Of the share of `clips` that were hit.

    Clips drawn again with replacement have as many hits as a binomial draw: no clip needs to be drawn.
    """
    return _percentiles(derive(seed, clips).binomial(clips, hits / clips, RESAMPLES) / clips)


def mean_class_interval(hits: npt.NDArray[np.int64], clips: npt.NDArray[np.int64], *, seed: int = 0) -> Interval:
    """Of the mean over the classes of the share of their clips that were hit.

    `hits` and `clips` are counts of each class. Clips are drawn from all, so that a rare class may have few of them,
    or none: then it does not count, as in the metric itself.
    """
    total = int(clips.sum())
    counts = np.concatenate([hits, clips - hits])
    draws = derive(seed, total, len(clips)).multinomial(total, counts / total, RESAMPLES)
    hit, drawn = draws[:, : len(clips)], draws[:, : len(clips)] + draws[:, len(clips) :]
    shares = np.divide(hit, drawn, out=np.zeros(drawn.shape), where=drawn > 0)
    return _percentiles(shares.sum(axis=1) / (drawn > 0).sum(axis=1))


def _percentiles(values: npt.NDArray[np.floating]) -> Interval:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
