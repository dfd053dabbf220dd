"""From the answers of windows to segments in time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tdpn_core.predict.windows import Window

Scores = dict[str, npt.NDArray[np.float64]]
"""Probabilities (classes,) of each head."""


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

    def certain(self, threshold: float) -> bool:
        """Whether the likeliest class of every head has at least this probability."""
        return min(float(values.max()) for values in self.scores.values()) >= threshold

    def joined(self, other: Stretch) -> Stretch:
        """This and the following stretch."""
        both = self.windows + other.windows
        scores = {
            head: (values * self.windows + other.scores[head] * other.windows) / both
            for head, values in self.scores.items()
        }
        return Stretch(self.start, other.end, scores, both)


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
    """Neighbours of the same classes joined; those whose best classes lie below `threshold` in any head are left out.

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
