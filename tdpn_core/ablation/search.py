"""Choose the learning rate of each row on held-out training clips, so that no row gains by the rate it is given."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tdpn_core import defaults
from tdpn_core.ablation.cells import is_finished, prepare_cell, result_of
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.errors import UsageError

_TRIAL = "search-lr={:g}"
"""Folder of a row's trial at a learning rate, next to its seeds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Searched:
    """Learning rates that were tried for a row."""

    top1: dict[float, float | None]
    """Top-1 in [0, 1] on the held-out training clips, by rate; None if the run failed."""

    lr: float | None
    """The chosen rate; None if every run failed."""

    @property
    def at_end(self) -> bool:
        """Return whether the best rate is the lowest or highest one tried, so that a better one may be beyond it."""
        return self.lr in (min(self.top1), max(self.top1))


def check_rates(rates: Sequence[float], asked: set[str], epochs: int | None = None) -> None:
    """Check the rates to try and the epochs of a trial, given the settings that the user chose or varies.

    Raises:
        UsageError: a rate is not positive or repeated, there is only one, the rate is also set elsewhere, or there are
            epochs of trials without rates.
    """
    where = "--search-lr"
    if any(not math.isfinite(rate) or rate <= 0 for rate in rates):
        raise UsageError(f"learning rates must be positive numbers, not {_listed(rates)}", where=where)
    if len(set(rates)) != len(rates) or len(rates) == 1:
        hint = "for example --search-lr 0.0005,0.002,0.008"
        raise UsageError(f"needs two or more different learning rates, not {_listed(rates)}", where=where, hint=hint)
    if rates and "train.lr" in asked:
        hint = "leave out one of the two"
        raise UsageError("the learning rate is set or varied already", where=where, hint=hint)
    if epochs is not None and not rates:
        hint = "add --search-lr, for example --search-lr 0.0005,0.002,0.008"
        raise UsageError(f"has no effect without {where}", where="--search-epochs", hint=hint)


def prepare_search(
    folder: Path, call: Mapping[str, Any], rates: Sequence[float], epochs: int | None
) -> dict[float, Path]:
    """Return the cells that try `rates` for the row whose runs are described by `call`, below the row's `folder`.

    `epochs` is the length of a trial if it differs from that of a run.
    """
    own, paths = TrainOverrides(**call["overrides"]), {}
    settings = {name: value for name, value in own.settings.items() if name != "train.epochs" or not epochs}
    settings["train.holdout"] = str(defaults.SEARCH_HOLDOUT)
    for rate in sorted(rates):
        tried = dataclasses.replace(own, lr=rate, epochs=epochs or own.epochs, settings=settings)
        paths[rate] = prepare_cell(folder / _TRIAL.format(rate), {**call, "overrides": tried.given(), "search": True})
    return paths


def choose_rate(paths: Mapping[float, Path]) -> Searched:
    """Return the rate with the highest top-1 on the held-out clips (ties: the lowest loss) among the finished cells."""
    results = {rate: result_of(path) for rate, path in paths.items() if is_finished(path)}
    best = max(results, key=lambda rate: (results[rate]["top1"], -results[rate]["loss"]), default=None)
    return Searched(top1={rate: results[rate]["top1"] if rate in results else None for rate in paths}, lr=best)


def _listed(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in rates)
