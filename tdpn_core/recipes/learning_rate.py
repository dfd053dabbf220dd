"""How the learning rate and the weight decay follow the optimiser and the batch: the one rule, for every recipe."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from tdpn_core.config.schema import TrainConfig

Optimiser = Literal["sgd", "adamw"]


class Base(NamedTuple):
    """What an optimiser is used with at one batch size, and how the rate grows with the batch."""

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
    """The rate at a batch of `new` clips that corresponds to `lr` at `batch`: linear for SGD, the root for AdamW."""
    return lr if batch == new else _rounded(lr * (new / batch) ** BASES[optimiser].power)


def usual(optimiser: Optimiser, batch: int, *, share: float = 1.0) -> float:
    """`share` of the optimiser's base rate, at a batch of `batch` clips."""
    base = BASES[optimiser]
    return scaled(_rounded(share * base.lr), optimiser, base.batch, batch)


def describe_rate(train: TrainConfig) -> str:
    """`lr 0.00125 (0.01 at batch 64, linear in the batch)`: what runs, and what it corresponds to."""
    base = BASES[train.optimiser]
    there = scaled(train.lr, train.optimiser, train.batch_size, base.batch)
    return f"lr {train.lr:g} ({there:g} at batch {base.batch}, {base.words})"


def average_decay(steps: float) -> float:
    """The decay of an exponential moving average that spans `steps` optimiser steps, at least two."""
    return round(1 - 1 / max(2.0, steps), 6)


def _rounded(value: float) -> float:
    """To six significant digits, as people write a rate."""
    return float(f"{value:.6g}") if math.isfinite(value) else value
