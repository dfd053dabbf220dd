"""Effects of a horizontal flip on labels, derived from class names.

A mirror image swaps left and right, clockwise and counterclockwise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_SUFFIXES = ("", "ward", "wards", "most", "hand", "handed", "side", "sided")
_MIRROR = {
    **{f"left{suffix}": f"right{suffix}" for suffix in _SUFFIXES},
    **{f"right{suffix}": f"left{suffix}" for suffix in _SUFFIXES},
    "clockwise": "counterclockwise",
    "counterclockwise": "clockwise",
}
_INITIALS = {"l": "r", "r": "l"}
# "pulling it right out": not a side, unless another class is its mirror
_ADVERB = re.compile(r"\bright (?=(?:after|away|back|before|out)\b)")
_COUNTER = re.compile(r"\b(?:counter|anti) ?clockwise\b")
_WORD_BOUNDARY = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])|[\W_]+")

Words = tuple[str, ...]


class Flips(NamedTuple):
    """Behaviour of one head's classes under a horizontal flip; a class in neither set keeps its label."""

    swaps: dict[int, int]
    """Label of the flipped clip, for each class whose mirror class exists; contains both directions."""

    unflippable: frozenset[int]
    """Classes that name a side and have no mirror class: a flipped clip of them belongs to no class."""

    def mirrored(self, label: int | npt.NDArray[np.int64]) -> int | npt.NDArray[np.int64]:
        """Return the label of a flipped clip: a class, or the row (C,) of a clip of multi-label data."""
        if isinstance(label, int):
            return self.swaps.get(label, label)
        return label[[self.swaps.get(place, place) for place in range(len(label))]]


def flip_swaps(class_names: Sequence[str]) -> Flips:
    """Find the classes that swap under a horizontal flip.

    Names are split into words: `Swiping Left`, `swiping_left` and `SwipingLeft` are the same. Two classes with the
    same words, one of them a side, are ambiguous and are not flipped. The single letters `l` and `r` (`kick_l`,
    `R_kick`) are sides only if both occur and no other letter occurs in their place, as it would in an alphabet.
    """
    words = [_words(name) for name in class_names]
    letters = {(*name[:place], "", *name[place + 1 :]) for name in words for place, word in enumerate(name)
               if len(word) == 1 and word.isalpha() and word not in _INITIALS}  # fmt: skip
    labels = {key: [label for label, other in enumerate(words) if other == key] for key in set(words)}
    swaps: dict[int, int] = {}
    unflippable: set[int] = set()
    for label, name in enumerate(words):
        mirror = tuple(_MIRROR.get(word, word) for word in name)
        if mirror == name:
            mirror = _mirrored_initials(name, letters)
        if mirror == name:
            continue
        partners = labels.get(mirror, [])
        if len(partners) == 1 and len(labels[name]) == 1:
            swaps[label] = partners[0]
        elif partners or _names_a_side(name):
            unflippable.add(label)
    return Flips(swaps, frozenset(unflippable))


def _words(name: str) -> Words:
    spaced = _WORD_BOUNDARY.sub(" ", name).strip().lower()
    return tuple(_COUNTER.sub("counterclockwise", spaced).split())


def _mirrored_initials(name: Words, letters: set[Words]) -> Words:
    """Return `name` with `l` for `r`; unchanged if it has no other word, or if letters number the classes."""
    if len(name) < 2 or any((*name[:place], "", *name[place + 1 :]) in letters for place in range(len(name))):
        return name
    return tuple(_INITIALS.get(word, word) for word in name)


def _names_a_side(name: Words) -> bool:
    return any(word in _MIRROR for word in _ADVERB.sub("", " ".join(name)).split())
