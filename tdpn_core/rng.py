"""Randomness is derived, never carried: every draw is a function of a seed and of what it is drawn for.

So an augmentation depends on (seed, epoch, clip) and a dropout mask on (seed, step): neither on the number of workers,
nor on the order of work, nor on whether the run was interrupted.
"""

from __future__ import annotations

import numpy as np


def derive(seed: int, *path: int) -> np.random.Generator:
    """A generator for one place: `derive(seed, epoch, clip)`; another path, also a longer one, is another stream."""
    # a spawn key, because plain entropy is padded with zeros: (seed, epoch) would be (seed, epoch, 0)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=path))


def derive_seed(seed: int, *path: int) -> int:
    """A 63-bit seed for one place, for libraries that take a number."""
    return int(derive(seed, *path).integers(2**63 - 1))
