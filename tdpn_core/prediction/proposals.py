"""Find segments of each class by itself: they may overlap, and each class is searched at several levels.

A class gives a segment for each run of moments whose probability reaches a level; runs at higher levels are inside
those at lower ones, and non-maximum suppression chooses among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tdpn_core.evaluation.timeline_metrics import temporal_iou
from tdpn_core.prediction.timeline import Stretch

_LEVELS = tuple(step / 10 for step in range(1, 10))

Floats = npt.NDArray[np.float64]


class Proposal(NamedTuple):
    """A segment of one class."""

    start: float
    end: float
    """In seconds."""

    head: str
    label: int
    score: float
    """Mean probability over its time."""


def propose(
    stretches: Iterable[Stretch],
    *,
    threshold: float | Mapping[str, Sequence[float]],
    min_length: float,
    overlap: float | None,
) -> Iterator[Proposal]:
    """Yield the segments of each class that remain after non-maximum suppression, as soon as they are final.

    Memory is bounded by the longest run of a class.

    Args:
        stretches: in temporal order, such as those of `cells`.
        threshold: lowest probability of a segment's moments, for all classes or by head for each; levels from 0.1 on
            above it are tried as well.
        min_length: seconds of the shortest segment.
        overlap: temporal IoU above which the less probable one of two segments of a class is left out; None: a class is
            searched at its threshold only, so that its segments do not overlap.
    """
    searches: dict[str, _Search] = {}
    for stretch in stretches:
        for head, values in stretch.scores.items():
            if head not in searches:
                own = threshold if isinstance(threshold, float | int) else threshold[head]
                levels = _levels(np.broadcast_to(np.asarray(own, float), len(values)), several=overlap is not None)
                searches[head] = _Search(head, levels)
            for group in searches[head].add(stretch, values):
                yield from suppress(_long(group, min_length), overlap or 0.0)
    for search in searches.values():
        for group in search.finish():
            yield from suppress(_long(group, min_length), overlap or 0.0)


def _levels(thresholds: Floats, *, several: bool) -> Floats:
    """Return (levels, classes): the threshold of each class, and with `several` those of `_LEVELS` above it."""
    lowest = np.where(thresholds > 0, thresholds, _LEVELS[0])[None]
    above = [np.maximum(lowest, level) for level in _LEVELS if (lowest < level).any()]
    return np.concatenate([lowest, *above]) if several else lowest


def _long(group: Iterable[Proposal], min_length: float) -> list[Proposal]:
    return [one for one in group if one.end - one.start >= min_length]


def suppress(proposals: Iterable[Proposal], overlap: float) -> list[Proposal]:
    """Return the proposals of one class without those that overlap a more probable one by more than `overlap`.

    They are in temporal order. Of equally probable ones, the longer one is kept.
    """
    kept: list[Proposal] = []
    for one in sorted(proposals, key=lambda one: (-one.score, one.start - one.end)):
        starts, stops = (np.array([getattr(other, end) for other in kept]) for end in ("start", "end"))
        if not (temporal_iou(one.start, one.end, starts, stops) > overlap).any():
            kept.append(one)
    return sorted(kept)


class _Search:
    """Open runs of each class of a head at each level."""

    def __init__(self, head: str, levels: Floats) -> None:
        """Start without runs; `levels` are (levels, classes)."""
        self._head, self._levels = head, levels
        shape = levels.shape
        self._open = np.zeros(shape, bool)
        self._start, self._mass = np.zeros(shape), np.zeros(shape)
        self._closed: dict[int, list[Proposal]] = {}
        self._end = 0.0

    def add(self, stretch: Stretch, values: Floats) -> Iterator[list[Proposal]]:
        """Extend the runs by one stretch; yield the proposals of each class whose run at the lowest level has ended."""
        above = values >= self._levels
        after_gap = stretch.start > self._end
        yield from self._close(self._open if after_gap else self._open & ~above)
        new = above & ~self._open
        self._start[new], self._mass[new] = stretch.start, 0.0
        self._mass += np.where(above, values * stretch.seconds, 0.0)
        self._open, self._end = above, stretch.end

    def finish(self) -> Iterator[list[Proposal]]:
        """Yield the proposals of the runs that are open at the end."""
        yield from self._close(self._open)

    def _close(self, ending: npt.NDArray[np.bool_]) -> Iterator[list[Proposal]]:
        for level, label in np.argwhere(ending).tolist():
            start = float(self._start[level, label])
            score = float(self._mass[level, label] / (self._end - start))
            self._closed.setdefault(label, []).append(Proposal(start, self._end, self._head, label, score))
        self._open = self._open & ~ending
        for label in np.flatnonzero(ending[0]).tolist():
            yield self._closed.pop(label)
