"""Class-balanced epochs: every class has the same number of clips."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tdpn_core.rng import derive

_PASS = (0, 3)
"""Last part of the random stream's path for the order of a class's clips; no other path of this length ends so."""


class BalancedOrder:
    """Class-balanced order: an epoch has `share` clips of each class; the next epoch continues where it ended.

    Each class is traversed in passes, each a permutation of its clips that depends on (seed, class, pass). Clips of
    small classes occur several times per epoch, those of large classes once in several epochs; after any number of
    epochs the visits of two clips of a class differ by at most one.
    """

    def __init__(self, labels: npt.NDArray[np.int64], seed: int) -> None:
        """`labels` (N,) are the classes; -1 (unlabelled) counts as a class of its own."""
        self._members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        self._seed = seed
        self.share = -(-len(labels) // len(self._members))

    def __len__(self) -> int:
        """Number of clips per epoch."""
        return self.share * len(self._members)

    def epoch(self, epoch: int) -> list[tuple[int, int]]:
        """Return (pass, clip) for each position of `epoch`, in random order; no pair repeats within a run."""
        keys = [key for number in range(len(self._members)) for key in self._of_class(number, epoch)]
        return [keys[place] for place in derive(self._seed, epoch).permutation(len(keys))]

    def _of_class(self, number: int, epoch: int) -> list[tuple[int, int]]:
        members = self._members[number]
        keys = []
        order: dict[int, npt.NDArray[np.int64]] = {}
        for place in range(epoch * self.share, (epoch + 1) * self.share):
            turn, position = divmod(place, len(members))
            if turn not in order:
                order[turn] = derive(self._seed, number, turn, *_PASS).permutation(len(members))
            keys.append((turn, int(members[order[turn][position]])))
        return keys
