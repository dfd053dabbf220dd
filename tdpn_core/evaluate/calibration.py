"""Whether a network is right as often as it is sure: expected calibration error over bins of confidence."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

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
