"""Repair time stamps of decoded frames that repeat or decrease, and derive the frame rate."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tdpn_core import defaults

_USUAL = tuple(Fraction(rate) for rate in (30, 25, 24, 60, 50, 15, 10, 12, 20, 120, 240)) + tuple(
    Fraction(rate * 1000, 1001) for rate in (30, 24, 60, 120)
)


def repaired(times: NDArray[np.float64], rate: float | None = None) -> NDArray[np.float64]:
    """Return time stamps that increase from frame to frame.

    The longest increasing subsequence is kept; other and missing stamps are interpolated between their neighbours, and
    extrapolated at the usual distance before the first and after the last.

    Args:
        times: (K,) seconds in display order; NaN if missing.
        rate: frames per second, used if fewer than two stamps are valid.
    """
    if len(times) < 2 or bool((np.diff(times) > 0).all()):
        return np.nan_to_num(times, nan=0.0)
    good = np.array(_increasing(times), np.int64)
    usual = 1 / (rate or defaults.FRAME_RATE)
    step = float(np.median(np.diff(times[good]) / np.diff(good))) if len(good) > 1 else usual
    numbers = np.arange(len(times), dtype=np.float64)
    if len(good) == 0:
        return numbers * step
    result = np.interp(numbers, good, times[good])
    before, after = numbers < good[0], numbers > good[-1]
    result[before] = times[good[0]] - (good[0] - numbers[before]) * step
    result[after] = times[good[-1]] + (numbers[after] - good[-1]) * step
    return result


def _increasing(times: NDArray[np.float64]) -> list[int]:
    """Return the indices of the longest strictly increasing subsequence, ignoring NaN."""
    ends: list[float] = []  # the smallest last value of a subsequence of each length
    places: list[int] = []
    previous = [-1] * len(times)
    for index, value in enumerate(times.tolist()):
        if value != value:
            continue
        at = bisect_left(ends, value)
        if ends[at : at + 1] == [value]:
            continue  # of equal stamps, the first is kept
        previous[index] = places[at - 1] if at else -1
        ends[at : at + 1] = [value]
        places[at : at + 1] = [index]
    chain, index = [], places[-1] if places else -1
    while index >= 0:
        chain.append(index)
        index = previous[index]
    return chain[::-1]


def frame_rate(times: NDArray[np.float64], stated: Sequence[Fraction] = (), tick: float = 0.0) -> tuple[bool, float]:
    """Return whether frames are evenly spaced, and their rate.

    The container's rate, or a common one, is used if all stamps agree with it to one tick; otherwise the measured rate.
    Deviations up to a quarter of a frame from an even grid count as even; more is a variable rate.

    Args:
        times: (K,) increasing seconds.
        stated: rates in the container, best first.
        tick: time base of the container in seconds.
    """
    if len(times) < 2 or times[-1] <= times[0]:
        return True, float(stated[0]) if stated else defaults.FRAME_RATE
    steps, since = np.arange(len(times)), times - times[0]
    measured = (len(times) - 1) / float(since[-1])
    allowed = min(1.01 * tick, 0.25 / measured) + 2e-6
    for rate in (*stated, *_USUAL):
        if abs(float(rate) / measured - 1) < 0.1 and bool(np.abs(since - steps / float(rate)).max() <= allowed):
            return True, float(rate)
    return bool(np.abs(since - steps / measured).max() <= 0.25 / measured), measured
