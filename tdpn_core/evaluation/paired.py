"""Compare two models on the same clips: difference of their top-1, or of mAP, and its significance."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tdpn_core.evaluation.multilabel import first_hits, mean_precision
from tdpn_core.evaluation.score_file import Scores
from tdpn_core.labels import is_multilabel, known
from tdpn_core.rng import derive

_DRAWS = 1000
_EXCHANGES = 2  # last part of the random stream's path
_ROUNDING = 1e-12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paired:
    """Comparison of a model with another on the labelled clips scored by both."""

    clips: int
    difference: float
    """Top-1 minus that of the other, in [-1, 1]; for multi-label data mAP."""

    gained: int
    """Number of clips that only this model recognises."""

    lost: int
    """Number of clips that only the other model recognises."""

    p_value: float
    """Result of `sign_flip_test`; for multi-label data of `exchange_test`."""


def compare_scores(first: Scores, second: Scores) -> dict[str, Paired]:
    """Compare `second` with `first` for each labelled head; both are aligned (`fusion.align`).

    In multi-label data a clip counts as recognised if its most probable class is one of its own.
    """
    one, two = first.probabilities(), second.probabilities()
    found = {}
    for head, labels in first.labels.items():
        inside = known(labels)
        if inside.any():
            hits = [first_hits(values[head][inside], labels[inside]) for values in (one, two)]
            gains = hits[1].astype(np.int64) - hits[0].astype(np.int64)
            if is_multilabel(labels):
                own, others = two[head][inside], one[head][inside]
                difference = mean_precision(own, labels[inside]) - mean_precision(others, labels[inside])
                p_value = exchange_test([own], [others], labels[inside])
            else:
                difference, p_value = float(gains.mean()), sign_flip_test(gains)
            found[head] = Paired(
                clips=len(gains),
                difference=difference,
                gained=int((gains > 0).sum()),
                lost=int((gains < 0).sum()),
                p_value=p_value,
            )
    return found


def sign_flip_test(gains: npt.NDArray[np.int64]) -> float:
    """Return the two-sided p-value of the exact paired permutation test on `gains` (clips,), integers.

    A clip's gain is how often it is recognised in one row minus how often in the first, over seeds and heads. If the
    rows were equivalent, every gain would have either sign with equal probability: the p-value is the share of all
    2^clips sign patterns whose sum is at least as far from 0 as the observed one. The unit is the clip, not (clip,
    seed), since a hard clip is hard for every seed. With one seed this is McNemar's exact test. It does not measure
    the variation over seeds; see the standard deviation over seeds for that.
    """
    sizes, counts = np.unique(np.abs(gains[gains != 0]), return_counts=True)
    distribution = np.ones(1)  # of the sum, over -reach .. reach
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        coin = np.zeros(2 * size + 1)
        coin[[0, -1]] = 0.5
        for _ in range(count):
            distribution = np.convolve(distribution, coin)
    reach = len(distribution) // 2
    far = np.abs(np.arange(-reach, reach + 1)) >= abs(int(gains.sum()))
    return min(1.0, float(distribution[far].sum()))


def exchange_test(
    own: Sequence[npt.NDArray[np.float64]], others: Sequence[npt.NDArray[np.float64]], labels: npt.NDArray[np.int64]
) -> float:
    """Return the two-sided p-value of a randomisation test on mAP, paired over clips.

    If two networks were equivalent, the scores of any clip could be exchanged between them. The p-value is the share of
    `_DRAWS` random exchanges, of a random half of the clips with all seeds together, after which the mean mAP over the
    seeds differs at least as much as observed (E. Noreen, "Computer-Intensive Methods for Testing Hypotheses", 1989).

    Args:
        own: scores (clips, classes) of a row for each seed.
        others: those of the first row for the same seeds.
        labels: (clips, classes), 1 for each class of a clip and 0 for the others.
    """

    def difference(swap: npt.NDArray[np.bool_]) -> float:
        pairs = zip(own, others, strict=True)
        exchanged = [(np.where(swap, two, one), np.where(swap, one, two)) for one, two in pairs]
        return statistics.fmean(mean_precision(one, labels) - mean_precision(two, labels) for one, two in exchanged)

    clips = len(labels)
    observed = abs(difference(np.zeros((clips, 1), bool)))
    rng = derive(0, clips, _EXCHANGES)
    far = sum(abs(difference(rng.random((clips, 1)) < 0.5)) >= observed - _ROUNDING for _ in range(_DRAWS))
    return (far + 1) / (_DRAWS + 1)
