"""Convert the answers for windows to segments in time.

Answers are smoothed, each window gets its share of the time, neighbours with the same classes are joined, and short
segments are merged into a neighbour. Every step is a generator with bounded memory for videos of any length.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tdpn_core.prediction.windows import Window

Scores = dict[str, npt.NDArray[np.float64]]
"""Probabilities (classes,) by head."""

_ROUNDING = 0.01  # share of a span by which rounded times may differ


class Answer(NamedTuple):
    """The network's result for a window."""

    window: Window
    scores: Scores


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Successive windows with the same classes."""

    start: float
    end: float
    """In seconds."""

    scores: Scores
    """Mean over the windows."""

    windows: int = 1

    @property
    def label(self) -> tuple[int, ...]:
        """The most likely class of each head."""
        return tuple(int(values.argmax()) for values in self.scores.values())

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.end - self.start

    def certain(self, threshold: float) -> bool:
        """Return whether the most likely class of every head has at least this probability."""
        return min(float(values.max()) for values in self.scores.values()) >= threshold

    def support(self, label: tuple[int, ...]) -> float:
        """Return the probability of these classes, one per head: their product."""
        return float(np.prod([values[one] for values, one in zip(self.scores.values(), label, strict=True)]))

    def joined(self, other: Stretch) -> Stretch:
        """Join this with the following stretch of the same classes."""
        both = self.windows + other.windows
        scores = {
            head: (values * self.windows + other.scores[head] * other.windows) / both
            for head, values in self.scores.items()
        }
        return Stretch(self.start, other.end, scores, both)

    def over(self, other: Stretch) -> Stretch:
        """Extend this over a neighbour with other classes, whose windows do not count in the mean."""
        start, end = min(self.start, other.start), max(self.end, other.end)
        return dataclasses.replace(self, start=start, end=end)


def smooth(answers: Iterable[Answer], seconds: float | None = None) -> Iterator[Answer]:
    """Average each answer with those whose window centres are within half of `seconds` of its own.

    Args:
        answers: in temporal order.
        seconds: 0 for no averaging; None for the length of a window, so that at the default stride each window is
            averaged with the previous and the next one.
    """
    if seconds == 0:
        yield from answers
        return
    held: deque[Answer] = deque()
    place = 0  # index of the next answer to yield
    for answer in answers:
        held.append(answer._replace(window=answer.window._replace(frames=())))  # drop pictures to save memory
        while _reach(held[place], seconds) < held[-1].window.middle:
            yield _mean(held, place, seconds)
            place += 1
        while held[0].window.middle < held[place].window.middle - _half(held[place], seconds):
            held.popleft()
            place -= 1
    for rest in range(place, len(held)):
        yield _mean(held, rest, seconds)


def _half(answer: Answer, seconds: float | None) -> float:
    span = answer.window.end - answer.window.start if seconds is None else seconds
    return span * (1 + _ROUNDING) / 2


def _reach(answer: Answer, seconds: float | None) -> float:
    return answer.window.middle + _half(answer, seconds)


def _mean(held: Iterable[Answer], place: int, seconds: float | None) -> Answer:
    answers = list(held)
    own = answers[place]
    half = _half(own, seconds)
    near = [one for one in answers if abs(one.window.middle - own.window.middle) <= half]
    return own._replace(scores={head: np.mean([one.scores[head] for one in near], axis=0) for head in own.scores})


def cells(answers: Iterable[Answer]) -> Iterator[Stretch]:
    """Assign each window its share of the time: the moments nearest to its centre, without gaps."""
    last: Answer | None = None
    start = 0.0
    for answer in answers:
        if last is None:
            start = answer.window.start
        else:
            border = (last.window.middle + answer.window.middle) / 2
            yield Stretch(start, border, last.scores)
            start = border
        last = answer
    if last is not None:
        yield Stretch(start, last.window.end, last.scores)


def merge(stretches: Iterable[Stretch], threshold: float = 0.0) -> Iterator[Stretch]:
    """Join neighbours with the same classes; drop those whose best class is below `threshold` in any head.

    The threshold is applied before joining, and a dropped stretch separates its neighbours.
    """
    open_: Stretch | None = None
    for stretch in stretches:
        certain = stretch.certain(threshold)
        if open_ is not None and certain and stretch.label == open_.label:
            open_ = open_.joined(stretch)
            continue
        if open_ is not None:
            yield open_
        open_ = stretch if certain else None
    if open_ is not None:
        yield open_


def lengthen(stretches: Iterable[Stretch], shortest: float) -> Iterator[Stretch]:
    """Merge stretches shorter than `shortest` seconds into the neighbour whose classes fit better.

    A short stretch between two with the same classes joins them. One without a neighbour, such as a single window above
    the threshold, is unchanged.
    """
    before: Stretch | None = None  # long enough
    short: Stretch | None = None  # the one after it
    for stretch in stretches:
        last = short or before
        if last is not None and last.end < stretch.start:
            yield _closed(before, short)
            before = short = None
        current: Stretch | None = stretch
        if short is not None:
            before, current = _given(before, short, stretch)
            short = None
        if current is None:
            continue
        if current.seconds < shortest:
            short = current
            continue
        if before is not None:
            yield before
        before = current
    if before is not None or short is not None:
        yield _closed(before, short)


def _given(before: Stretch | None, short: Stretch, after: Stretch) -> tuple[Stretch | None, Stretch | None]:
    """Return the stretches before and after a short one, after one of them has taken its time."""
    if before is None:
        return None, after.over(short)
    if before.label == after.label:
        return before.joined(after), None
    if short.support(before.label) >= short.support(after.label):
        return before.over(short), after
    return before, after.over(short)


def _closed(before: Stretch | None, short: Stretch | None) -> Stretch:
    """Finish a chain of neighbours."""
    if before is None or short is None:
        only = before or short
        assert only is not None
        return only
    return before.over(short)
