"""Aggregate cells to rows: mean and standard deviation over seeds, and a paired test against the first row."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tdpn_core.ablation.measure import Measured
from tdpn_core.ablation.search import Searched
from tdpn_core.evaluation.paired import exchange_test, sign_flip_test


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A combination of settings over its seeds. Shares are in [0, 1]."""

    name: str
    levels: dict[str, str]
    """Level of each factor."""

    seeds: list[int]
    """Seeds of the finished cells."""

    scores: dict[str, list[float]]
    """Top-1 of each seed by head; for multi-label data mAP, as `metric` says."""

    metric: str = "top1"

    searched: Searched | None = None
    """Learning rates tried on held-out training clips; None if none were."""

    measured: Measured | None = None
    """Speed and memory; None if not measured."""

    difference: float | None
    """Mean score minus that of the first row over common seeds; None without any, and for the first row."""

    p_value: float | None
    """p-value of `sign_flip_test` against the first row, or for multi-label data of `exchange_test`."""

    holm_p_value: float | None = None
    """`p_value` adjusted by `holm` for the number of rows that are compared with the first."""

    parameters: int | None
    """Number of parameters needed for inference."""

    gmac: float | None
    """10^9 multiply-accumulates per clip."""

    clips_per_second: float | None
    """Training speed: median over epochs, mean over seeds."""

    paper_top1: float | None
    """The paper's result for this row on Kinetics-400."""

    failed: dict[int, str]
    """Reason for each failed seed."""

    def mean(self, head: str) -> float | None:
        """Return the mean score over the seeds; None if all failed."""
        return statistics.fmean(self.scores[head]) if self.scores.get(head) else None

    def deviation(self, head: str) -> float | None:
        """Return the standard deviation over the seeds (sample, n - 1); None for fewer than two."""
        return statistics.stdev(self.scores[head]) if len(self.scores.get(head, [])) > 1 else None


def compare(row: Row, results: dict[int, dict[str, Any]], first: dict[int, dict[str, Any]]) -> Row:
    """Return `row` with its `results` by seed, tested against those of the first row (empty for the first itself)."""
    if not results:
        return row
    some = next(iter(results.values()))
    both = sorted(results.keys() & first.keys())
    complete = dataclasses.replace(
        row,
        seeds=sorted(results),
        parameters=some["parameters"],
        gmac=some["gmac"],
        clips_per_second=statistics.fmean(result["clips_per_second"] for result in results.values()),
    )
    if "map" in some:
        return _compare_labels(complete, results, first, both)
    gains = sum((_hits(results[seed]) - _hits(first[seed]) for seed in both), np.zeros(len(some["ids"]), np.int64))
    heads = len(some["hits"])
    return dataclasses.replace(
        complete,
        scores={
            head: [float(np.mean(results[seed]["hits"][head])) for seed in sorted(results)] for head in some["hits"]
        },
        difference=float(gains.mean()) / len(both) / heads if both else None,
        p_value=sign_flip_test(gains) if both else None,
    )


def _compare_labels(
    row: Row, results: dict[int, dict[str, Any]], first: dict[int, dict[str, Any]], both: Sequence[int]
) -> Row:
    """Return `row` of multi-label data, which has one head."""
    ((head, _),) = next(iter(results.values()))["map"].items()
    differences = [results[seed]["map"][head] - first[seed]["map"][head] for seed in both]
    own, others = ([np.asarray(each[seed]["probabilities"][head]) for seed in both] for each in (results, first))
    labels = np.asarray(next(iter(results.values()))["labels"][head])
    return dataclasses.replace(
        row,
        metric="map",
        scores={head: [results[seed]["map"][head] for seed in sorted(results)]},
        difference=statistics.fmean(differences) if both else None,
        p_value=exchange_test(own, others, labels) if both else None,
    )


def adjust(rows: Sequence[Row]) -> list[Row]:
    """Return `rows` with the p-values of all comparisons with the first row adjusted together."""
    known = [number for number, row in enumerate(rows) if row.p_value is not None]
    adjusted = dict(zip(known, holm([rows[number].p_value or 0.0 for number in known]), strict=True))
    return [dataclasses.replace(row, holm_p_value=adjusted.get(number)) for number, row in enumerate(rows)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number by Holm's step-down method (Scandinavian J. Statistics 6, 1979).

    The k-th smallest of m is multiplied by m - k + 1, is at least the one before, and at most 1. If all values below
    5 % are called significant, the probability of any false one among them is at most 5 %, whatever their dependence.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def _hits(result: dict[str, Any]) -> npt.NDArray[np.int64]:
    """Return how many heads recognise each clip."""
    counted: npt.NDArray[np.int64] = np.asarray(list(result["hits"].values()), np.int64).sum(axis=0)
    return counted
