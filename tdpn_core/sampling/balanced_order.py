"""Epochs in which every class has equally many clips."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tdpn_core.rng import derive

_PASS = (0, 3)
"""Ends the path of the order in which a class's clips come; no other path of that length ends so."""


class BalancedOrder:
    """Clips class by class: an epoch has `share` clips of each, the next epoch goes on where it ended.

    A class is gone through in passes, each a permutation of all its clips that depends on (seed, class, pass): small
    ones come several times an epoch, large ones over several epochs, and after any number of epochs two clips of a
    class have been seen equally often, or one of them once more.
    """

    def __init__(self, labels: npt.NDArray[np.int64], seed: int) -> None:
        """`labels` (N,) are the classes; -1, no label, is treated as a class of its own."""
        self._members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        self._seed = seed
        self.share = -(-len(labels) // len(self._members))

    def __len__(self) -> int:
        """Clips of an epoch."""
        return self.share * len(self._members)

    def epoch(self, epoch: int) -> list[tuple[int, int]]:
        """(pass, clip) of each place of `epoch`, in random order; no such pair comes twice in a run."""
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
