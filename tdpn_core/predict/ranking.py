"""From probabilities to the names of the likeliest classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Ranking = list[tuple[str, float]]
"""(class name, probability), the likeliest first."""


def rank(
    probabilities: Mapping[str, npt.NDArray[np.floating]], classes: Mapping[str, Sequence[str]], topk: int
) -> dict[str, Ranking]:
    """The `topk` likeliest classes of each head; of equal ones the lower label first.

    A network that names verbs and nouns also gets the head `action`: the pairs of the highest products, as
    EPIC-KITCHENS scores them.
    """
    ranked = {head: _best(values, classes[head], topk) for head, values in probabilities.items()}
    if {"verb", "noun"} <= probabilities.keys() and "action" not in probabilities:
        ranked["action"] = _pairs(ranked["verb"], ranked["noun"], topk)
    return ranked


def _best(values: npt.NDArray[np.floating], names: Sequence[str], topk: int) -> Ranking:
    order = np.argsort(-values, kind="stable")[:topk]
    return [(names[label], float(values[label])) for label in order]


def _pairs(verbs: Ranking, nouns: Ranking, topk: int) -> Ranking:
    """The best pairs: none of the best `topk` has a verb or noun beyond its own best `topk`."""
    pairs = [(f"{verb} {noun}", p * q) for verb, p in verbs for noun, q in nouns]
    return sorted(pairs, key=lambda pair: -pair[1])[:topk]
