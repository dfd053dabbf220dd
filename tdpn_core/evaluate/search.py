"""The weights of a fusion, found on clips of their own: never on those that are reported."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tdpn_core.errors import UsageError
from tdpn_core.evaluate.fuse import mix
from tdpn_core.evaluate.metrics import label_ranks
from tdpn_core.evaluate.scorefile import Scores
from tdpn_core.randomness import derive

_STEPS = {2: 20, 3: 10, 4: 6}
"""Steps from 0 to 1 of each weight, by the number of parts; more parts have `_FEW`."""

_FEW = 4
_HALF = 1  # ends the path of a derived generator: which half a clip is in


def search_weights(parts: Sequence[Scores]) -> list[float]:
    """The weights (they sum to one) of aligned `parts` with the highest top-1, the mean over heads, on a lattice.

    Of equal top-1, the higher mean log-likelihood; then the weights nearest to equal ones.

    Raises:
        UsageError: no clip has a label.
    """
    known = {head: labels >= 0 for head, labels in parts[0].labels.items()}
    if not all(rows.any() for rows in known.values()):
        raise UsageError("weights cannot be searched on clips without labels", where=parts[0].origin.split)
    labels = {head: values[known[head]] for head, values in parts[0].labels.items()}
    probabilities = [{head: values[known[head]] for head, values in part.probabilities().items()} for part in parts]

    def worth(weights: Sequence[float]) -> tuple[float, float, float]:
        mixed = mix(probabilities, weights)
        hits = [float((label_ranks(values, labels[head]) == 0).mean()) for head, values in mixed.items()]
        sure = [_log_likelihood(values, labels[head]) for head, values in mixed.items()]
        likelihood = round(float(np.mean(sure)), 9)  # rounding of sums is no preference
        return float(np.mean(hits)), likelihood, -max(abs(weight - 1 / len(parts)) for weight in weights)

    return max(_lattice(len(parts)), key=worth)


def split_in_half(scores: Scores) -> tuple[Scores, Scores]:
    """Two halves of the clips, drawn once for all by their number: one to search on, the other to report.

    Raises:
        UsageError: there is one clip only.
    """
    count = len(scores.ids)
    if count < 2:
        raise UsageError("one clip cannot be halved", where="--search-on")
    order = derive(0, count, _HALF).permutation(count)
    return take(scores, np.sort(order[: count // 2])), take(scores, np.sort(order[count // 2 :]))


def take(scores: Scores, rows: npt.NDArray[np.int64]) -> Scores:
    """The clips of some rows."""
    return dataclasses.replace(
        scores,
        ids=[scores.ids[row] for row in rows.tolist()],
        labels={head: values[rows] for head, values in scores.labels.items()},
        logits={head: values[rows] for head, values in scores.logits.items()},
    )


def _lattice(parts: int) -> Iterator[list[float]]:
    """Weights that sum to one."""
    steps = _STEPS.get(parts, _FEW)
    for head in itertools.product(range(steps + 1), repeat=parts - 1):
        if sum(head) <= steps:
            yield [number / steps for number in (*head, steps - sum(head))]


def _log_likelihood(probabilities: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> float:
    own = np.take_along_axis(probabilities, labels[:, None], axis=1)
    return float(np.log(np.maximum(own, 1e-12)).mean())
