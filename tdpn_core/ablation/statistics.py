"""From the cells' results to rows: mean and deviation over seeds, and a paired test against the first row."""

from __future__ import annotations

import dataclasses
import statistics
from typing import Any

import numpy as np
import numpy.typing as npt

from tdpn_core.evaluation.paired import sign_flip_test


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A combination of settings over its seeds. Shares lie in [0, 1]."""

    name: str
    levels: dict[str, str]
    """The level of each factor."""

    seeds: list[int]
    """Of the cells that finished; the figures are theirs."""

    top1: dict[str, list[float]]
    """For each head the top-1 of each seed."""

    difference: float | None
    """Mean top-1 minus that of the first row over the seeds that both have; None without any, and for the first."""

    p_value: float | None
    """Of `sign_flip_test` against the first row."""

    parameters: int | None
    """Needed for inference."""

    gmac: float | None
    """10^9 multiply-accumulates of one clip."""

    clips_per_second: float | None
    """Trained in a second, the median over epochs, in the mean over seeds."""

    paper_top1: float | None
    """What the paper prints for this row, on Kinetics-400."""

    failed: dict[int, str]
    """The reason of each seed that failed."""

    def mean(self, head: str) -> float | None:
        """Mean top-1 over the seeds, None where all failed."""
        return statistics.fmean(self.top1[head]) if self.top1.get(head) else None

    def deviation(self, head: str) -> float | None:
        """Standard deviation of the top-1 over the seeds (of a sample, n - 1), None for fewer than two."""
        return statistics.stdev(self.top1[head]) if len(self.top1.get(head, [])) > 1 else None


def compare(row: Row, results: dict[int, dict[str, Any]], first: dict[int, dict[str, Any]]) -> Row:
    """`row` with the figures of its `results` by seed, tested against those of the first row (empty for itself)."""
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
    """How many heads recognise each clip."""
    counted: npt.NDArray[np.int64] = np.asarray(list(result["hits"].values()), np.int64).sum(axis=0)
    return counted
