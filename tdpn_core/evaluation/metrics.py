"""Metrics of scores: top-k, mean class accuracy, calibration, confusion, results by class."""

from __future__ import annotations

import dataclasses
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
    """Results for one class."""

    name: str
    clips: int
    """Number of clips of this class."""

    accuracy: float | None
    """Share of its clips predicted as this class (recall); None without clips."""

    precision: float | None
    """Share of the clips predicted as this class that belong to it; None if never predicted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metrics:
    """Metrics on labelled clips. Shares are in [0, 1]."""

    clips: int
    """Number of scored clips, the denominator of all shares."""

    top: dict[int, float]
    """For each k, the share of clips whose class has one of the k highest scores."""

    mean_class_accuracy: float
    """Mean of the classes' accuracies, over classes with clips."""

    top_intervals: dict[int, Interval]
    """95 % bootstrap interval of each top-k."""

    mean_class_interval: Interval
    """95 % bootstrap interval of the mean class accuracy."""

    calibration: Calibration

    confusion: npt.NDArray[np.int64]
    """Clips of each class (rows) predicted as each class (columns), shape (classes, classes)."""

    classes: tuple[ClassMetrics, ...]
    """In label order."""


def measure(
    scores: Scores, labels: Labels, *, ids: Sequence[str], classes: Sequence[str], topk: Sequence[int] = defaults.TOP_K
) -> Metrics:
    """Compare probabilities `scores` (clips, classes) with `labels` (clips,).

    Each k is limited to the number of classes. Ties are resolved for the lower label, so that constant scores give the
    same result as always predicting the first class (scikit-learn's top-k ranks the last one first).

    Raises:
        UsageError: there are no clips, or a k is below 1.
        DatasetError: a label is not a class, or the number of scores differs from the number of classes.
        TdpnError: a score is not finite. All messages name the clip.
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
    """Return the share of clips whose class has one of the `k` highest scores; ties go to the lower label."""
    return float((label_ranks(scores, labels) < k).mean())


def label_ranks(scores: Scores, labels: Labels) -> Labels:
    """Return the number of classes that rank before each clip's own, (clips,), from scores (clips, classes)."""
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    lower = np.arange(scores.shape[1]) < labels[:, None]
    ranks: Labels = ((scores > own) | ((scores == own) & lower)).sum(axis=1)
    return ranks


def _confusion(labels: Labels, predicted: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.int64]:
    """Return the counts, (label, prediction); importing scikit-learn for them takes two seconds."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def _row(name: str, label: int, confusion: npt.NDArray[np.int64]) -> ClassMetrics:
    clips, predicted, hits = int(confusion[label].sum()), int(confusion[:, label].sum()), int(confusion[label, label])
    accuracy = hits / clips if clips else None
    return ClassMetrics(name=name, clips=clips, accuracy=accuracy, precision=hits / predicted if predicted else None)


def _check(scores: Scores, labels: Labels, ids: Sequence[str], classes: Sequence[str], topk: Sequence[int]) -> None:
    if min(topk, default=0) < 1:
        raise UsageError(f"--topk must be numbers of at least 1, not {list(topk)}")
    if len(labels) == 0:
        raise UsageError("there are no labelled clips to measure on")
    assert len(labels) == len(ids)
    check_scores(scores, ids, classes)
    wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if len(wrong):
        what = f"label {labels[wrong[0]]} is not among the {len(classes)} classes"
        raise DatasetError(what, where=ids[wrong[0]])


def check_scores(scores: Scores, ids: Sequence[str], classes: Sequence[str]) -> None:
    """Check the shape and the values of scores (clips, classes).

    Raises:
        UsageError: there are no clips.
        DatasetError: the number of scores differs from the number of classes.
        TdpnError: a score is not finite. The last two name the clip.
    """
    if len(scores) == 0:
        raise UsageError("there are no labelled clips to measure on")
    assert len(scores) == len(ids)
    if scores.shape[1] != len(classes):
        what = f"{scores.shape[1]} scores per clip, but {len(classes)} classes"
        raise DatasetError(
            what, where=ids[0], hint="the scores belong to another data set, or its classes have changed"
        )
    broken = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if len(broken):
        what = f"{len(broken)} of {len(scores)} clips have a score that is not finite, this one first"
        raise TdpnError(what, where=ids[broken[0]], hint="the weights or the clip's pixels are invalid")


BINS = 15
"""Number of bins of equal width, as in Guo et al., "On Calibration of Modern Neural Networks", 2017."""


@dataclasses.dataclass(frozen=True)
class Bin:
    """The clips whose highest probability is in (`low`, `high`]."""

    low: float
    high: float
    clips: int
    confidence: float
    """Mean of their highest probabilities."""

    accuracy: float
    """Share of correct predictions."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Relation between confidence and accuracy."""

    error: float
    """Expected calibration error: mean over the clips of |confidence - accuracy| of their bin."""

    bins: tuple[Bin, ...]
    """Bins with clips, by increasing confidence."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadFit:
    """Temperature and threshold of one head, and their effect on the clips that they were chosen on."""

    temperature: float
    """Number that divides the logits."""

    threshold: float
    """Smallest calibrated probability of an answer."""

    clips: int
    error_before: float
    error_after: float
    """Expected calibration error without and with the temperature."""

    right_kept: float
    """Share of the right answers that reach the threshold."""

    wrong_rejected: float | None
    """Share of the wrong answers that do not; None if none is wrong."""


def calibrate(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> Calibration:
    """Compare the highest probability of each clip, from (clips, classes), with its correctness."""
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
    """Return the bootstrap interval of a share of `hits` in `clips`.

    Resampling clips with replacement is equivalent to a binomial draw of the hits.
    """
    return percentiles(derive(seed, clips).binomial(clips, hits / clips, RESAMPLES) / clips)


def mean_class_interval(hits: npt.NDArray[np.int64], clips: npt.NDArray[np.int64], *, seed: int = 0) -> Interval:
    """Return the bootstrap interval of the mean over classes of the share of hits.

    `hits` and `clips` are counts per class. Clips are resampled over all classes, so that a rare class may get few
    clips or none; without clips it is ignored, as in the metric itself.
    """
    total = int(clips.sum())
    counts = np.concatenate([hits, clips - hits])
    draws = derive(seed, total, len(clips)).multinomial(total, counts / total, RESAMPLES)
    hit, drawn = draws[:, : len(clips)], draws[:, : len(clips)] + draws[:, len(clips) :]
    shares = np.divide(hit, drawn, out=np.zeros(drawn.shape), where=drawn > 0)
    return percentiles(shares.sum(axis=1) / (drawn > 0).sum(axis=1))


def percentiles(values: npt.NDArray[np.floating]) -> Interval:
    """Return the 95 % interval of bootstrap values."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
