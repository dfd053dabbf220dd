"""Derived randomness: every draw is a function of a seed and of what it is drawn for.

An augmentation depends on (seed, epoch, clip) and a dropout mask on (seed, step), not on the number of workers, the
order of work, or interruptions of the run.
"""

from __future__ import annotations

import numpy as np


def derive(seed: int, *path: int) -> np.random.Generator:
    """Return a generator for a path: `derive(seed, epoch, clip)`; any other path is independent."""
    # a spawn key, since plain entropy is padded with zeros: (seed, epoch) would equal (seed, epoch, 0)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=path))


def derive_seed(seed: int, *path: int) -> int:
    """Return a 63-bit seed for a path, for libraries that need a number."""
    return int(derive(seed, *path).integers(2**63 - 1))
