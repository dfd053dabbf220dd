"""How far a share might be off had other clips been drawn: 95 % bootstrap intervals (Efron 1979, percentiles)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tdpn_core.randomness import derive

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
