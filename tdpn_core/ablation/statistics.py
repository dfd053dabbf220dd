"""Aggregate cells to rows: mean and standard deviation over seeds, and a paired test against the first row."""

from __future__ import annotations

import dataclasses
import statistics
from typing import Any

import numpy as np
import numpy.typing as npt

from tdpn_core.evaluation.paired import sign_flip_test


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A combination of settings over its seeds. Shares are in [0, 1]."""

    name: str
    levels: dict[str, str]
    """Level of each factor."""

    seeds: list[int]
    """Seeds of the finished cells."""

    top1: dict[str, list[float]]
    """Top-1 of each seed, by head."""

    difference: float | None
    """Mean top-1 minus that of the first row over common seeds; None without any, and for the first row."""

    p_value: float | None
    """p-value of `sign_flip_test` against the first row."""

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
        """Return the mean top-1 over the seeds; None if all failed."""
        return statistics.fmean(self.top1[head]) if self.top1.get(head) else None

    def deviation(self, head: str) -> float | None:
        """Return the standard deviation of top-1 over the seeds (sample, n - 1); None for fewer than two."""
        return statistics.stdev(self.top1[head]) if len(self.top1.get(head, [])) > 1 else None


def compare(row: Row, results: dict[int, dict[str, Any]], first: dict[int, dict[str, Any]]) -> Row:
    """Return `row` with its `results` by seed, tested against those of the first row (empty for the first itself)."""
    if not results:
        return row
    some = next(iter(results.values()))
    both = sorted(results.keys() & first.keys())
    gains = sum((_hits(results[seed]) - _hits(first[seed]) for seed in both), np.zeros(len(some["ids"]), np.int64))
    heads = len(some["hits"])
    return dataclasses.replace(
        row,
        seeds=sorted(results),
        top1={head: [float(np.mean(results[seed]["hits"][head])) for seed in sorted(results)] for head in some["hits"]},
        difference=float(gains.mean()) / len(both) / heads if both else None,
        p_value=sign_flip_test(gains) if both else None,
        parameters=some["parameters"],
        gmac=some["gmac"],
        clips_per_second=statistics.fmean(result["clips_per_second"] for result in results.values()),
    )


def _hits(result: dict[str, Any]) -> npt.NDArray[np.int64]:
    """Return how many heads recognise each clip."""
    counted: npt.NDArray[np.int64] = np.asarray(list(result["hits"].values()), np.int64).sum(axis=0)
    return counted
