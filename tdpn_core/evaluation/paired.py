"""Two models on the same clips: the difference of their top-1 and whether it could be chance."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from tdpn_core.evaluation.score_file import Scores


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paired:
    """One model compared with another on the labelled clips that both scored."""

    clips: int
    difference: float
    """Top-1 minus that of the other, in [-1, 1]."""

    gained: int
    """Clips that only this one recognises."""

    lost: int
    """Clips that only the other one recognises."""

    p_value: float
    """Of `sign_flip_test`."""


def compare_scores(first: Scores, second: Scores) -> dict[str, Paired]:
    """`second` compared with `first` for each head with labels; both are aligned (`fusion.align`)."""
    one, two = first.probabilities(), second.probabilities()
    found = {}
    for head, labels in first.labels.items():
        known = labels >= 0
        if known.any():
            hits = [values[head].argmax(axis=1)[known] == labels[known] for values in (one, two)]
            gains = hits[1].astype(np.int64) - hits[0].astype(np.int64)
            found[head] = Paired(
                clips=len(gains),
                difference=float(gains.mean()),
                gained=int((gains > 0).sum()),
                lost=int((gains < 0).sum()),
                p_value=sign_flip_test(gains),
            )
    return found


def sign_flip_test(gains: npt.NDArray[np.int64]) -> float:
    """Two-sided p-value of the exact paired permutation test on `gains` (clips,), whole numbers.

    A clip's gain is how often it is recognised in a row minus how often in the first, over seeds and heads. If the two
    rows were alike, every clip's gain were as likely to have the other sign: the p-value is the share of all 2^clips
    sign patterns whose sum is as far from 0 as that observed. The clip is the unit, not (clip, seed): a clip that is
    hard is hard for every seed. With one seed this is McNemar's exact test. What it cannot tell is how other seeds
    would have come out: for that look at the deviation over seeds.
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
