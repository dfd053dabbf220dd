"""From the answers of windows to segments in time.

Answers are smoothed, each window gets its share of the time, neighbours of the same classes are joined, and short
stretches go to a neighbour. Every step is a generator that holds a few windows, whatever the length of the video.
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
"""Probabilities (classes,) of each head."""

_ROUNDING = 0.01  # of a span, by which times that are rounded to milliseconds or frames are off


class Answer(NamedTuple):
    """What the network says of a window."""

    window: Window
    scores: Scores


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Successive windows of the same classes."""

    start: float
    end: float
    """In seconds."""

    scores: Scores
    """Mean of the windows."""

    windows: int = 1

    @property
    def label(self) -> tuple[int, ...]:
        """The likeliest class of each head."""
        return tuple(int(values.argmax()) for values in self.scores.values())

    @property
    def seconds(self) -> float:
        """Length."""
        return self.end - self.start

    def certain(self, threshold: float) -> bool:
        """Whether the likeliest class of every head has at least this probability."""
        return min(float(values.max()) for values in self.scores.values()) >= threshold

    def support(self, label: tuple[int, ...]) -> float:
        """Probability of these classes, one of each head: their product."""
        return float(np.prod([values[one] for values, one in zip(self.scores.values(), label, strict=True)]))

    def joined(self, other: Stretch) -> Stretch:
        """This and the following stretch of the same classes."""
        both = self.windows + other.windows
        scores = {
            head: (values * self.windows + other.scores[head] * other.windows) / both
            for head, values in self.scores.items()
        }
        return Stretch(self.start, other.end, scores, both)

    def over(self, other: Stretch) -> Stretch:
        """This, with the time of a neighbour whose windows named other classes: these do not count in the mean."""
        start, end = min(self.start, other.start), max(self.end, other.end)
        return dataclasses.replace(self, start=start, end=end)


def smooth(answers: Iterable[Answer], seconds: float | None = None) -> Iterator[Answer]:
    """Each answer as the mean over those whose windows' middles are within half of `seconds` of its own.

    Args:
        answers: in the order of time.
        seconds: 0 leaves answers as they are; None is the length of the window, so that windows at the default stride
            are averaged with the one before and the one after.
    """
    if seconds == 0:
        yield from answers
        return
    held: deque[Answer] = deque()
    place = 0  # of the next answer to give
    for answer in answers:
        held.append(answer._replace(window=answer.window._replace(frames=())))  # pictures would take memory
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
    """Each window's share of the time: the moments whose nearest middle of a window is its own, without gaps."""
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
    """Neighbours of the same classes joined; those whose best classes are below `threshold` in any head are left out.

    A stretch is judged before it is joined, and one that is left out separates its neighbours.
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
    """Stretches of at least `shortest` seconds: a shorter one goes to the neighbour whose classes fit it better.

    A short stretch between two of the same classes joins them. One without a neighbour, such as a single moment above
    the threshold, stays as it is.
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
    """What is before and after a short stretch, once either has its time."""
    if before is None:
        return None, after.over(short)
    if before.label == after.label:
        return before.joined(after), None
    if short.support(before.label) >= short.support(after.label):
        return before.over(short), after
    return before, after.over(short)


def _closed(before: Stretch | None, short: Stretch | None) -> Stretch:
    """The end of a chain of neighbours."""
    if before is None or short is None:
        only = before or short
        assert only is not None
        return only
    return before.over(short)
