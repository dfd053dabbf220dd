"""Scaling of learning rate and weight decay with optimiser and batch: one rule for all recipes."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from tdpn_core.config.schema import TrainConfig

Optimiser = Literal["sgd", "adamw"]


class Base(NamedTuple):
    """An optimiser's values at one batch size, and how the rate scales with the batch."""

    lr: float
    batch: int
    weight_decay: float
    power: float
    """The rate is proportional to the batch to this power."""

    words: str


BASES: dict[Optimiser, Base] = {
    "sgd": Base(0.01, 64, 1e-4, 1.0, "linear in the batch"),  # TPN and TDN agree; Goyal et al. 2017
    "adamw": Base(0.002, 16, 0.02, 0.5, "with the square root of the batch"),  # Malladi et al. 2022
}


def scaled(lr: float, optimiser: Optimiser, batch: int, new: int) -> float:
    """Return the rate for a batch of `new` clips equivalent to `lr` at `batch`: linear for SGD, the root for AdamW."""
    return lr if batch == new else _rounded(lr * (new / batch) ** BASES[optimiser].power)


def usual(optimiser: Optimiser, batch: int, *, share: float = 1.0) -> float:
    """Return `share` of the optimiser's base rate for a batch of `batch` clips."""
    base = BASES[optimiser]
    return scaled(_rounded(share * base.lr), optimiser, base.batch, batch)


def describe_rate(train: TrainConfig) -> str:
    """Return `lr 0.00125 (0.01 at batch 64, linear in the batch)`: the actual rate and its reference."""
    base = BASES[train.optimiser]
    there = scaled(train.lr, train.optimiser, train.batch_size, base.batch)
    return f"lr {readable(train.lr)} ({readable(there)} at batch {base.batch}, {base.words})"


def readable(rate: float) -> str:
    """Return a rate to three significant digits; `config.json` has the exact one."""
    return f"{rate:.3g}"


def average_decay(steps: float) -> float:
    """Return the decay of an exponential moving average over `steps` optimiser steps, at least two."""
    return round(1 - 1 / max(2.0, steps), 6)


def _rounded(value: float) -> float:
    """Round to six significant digits."""
    return float(f"{value:.6g}") if math.isfinite(value) else value
