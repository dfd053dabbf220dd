"""Plots of an ablation: top-1 of each seed by row, and mean top-1 over cost."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdpn_core.ablation.statistics import Row
from tdpn_core.files import atomic_path
from tdpn_core.labels import METRIC_TITLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BLUE = "#1f5fa8"
_INCHES = 0.1
"""Width of a character of a row's label."""

_DECADE = 10
"""Ratio of costs from which their axis is logarithmic."""


def write_plot(rows: Sequence[Row], folder: Path) -> None:
    """Write `plot.png` and `plot.pdf` to `folder`: top-1 of the first head, the first row's mean as a line."""
    from matplotlib.figure import Figure  # without pyplot, which needs global state

    head = next((name for row in rows for name in row.scores), "action")
    labels = [re.sub(r"([+=])", r"\n\1", row.name.replace(", ", "\n")) for row in rows]
    longest = max(len(line) for label in labels for line in label.split("\n"))
    width = max(4.0, max(1.2, _INCHES * longest) * len(rows) + 1)
    figure = Figure(figsize=(width, 3.6), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        mean = row.mean(head)
        if mean is None:
            continue
        values = [100 * value for value in row.scores[head]]
        axes.plot([place - 0.15] * len(values), values, "o", color=_BLUE, alpha=0.45, markersize=5)
        deviation = row.deviation(head)
        error = None if deviation is None else [100 * deviation]
        axes.errorbar([place], [100 * mean], yerr=error, fmt="s", color=_BLUE, capsize=4, markersize=7)
        axes.annotate(f"{100 * mean:.1f}", (place, 100 * mean), (8, 0), textcoords="offset points", va="center")
    baseline = rows[0].mean(head)
    if baseline is not None:
        axes.axhline(100 * baseline, color="#888888", linewidth=0.8, linestyle="--")
    axes.set_xticks(range(len(rows)), labels)
    axes.set_xlim(-0.6, len(rows) - 0.2)
    axes.set_xlabel(", ".join(rows[0].levels))
    axes.set_ylabel(_axis(rows[0], head))
    axes.margins(y=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, folder, "plot")


def write_cost_plot(rows: Sequence[Row], folder: Path) -> None:
    """Write `cost.png` and `cost.pdf` to `folder`: top-1 of the first head over GMAC, and over measured inference time.

    Writes nothing if fewer than two rows have results.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    head = next((name for row in rows for name in row.scores), "action")
    done = [row for row in rows if row.mean(head) is not None and row.gmac]
    if len(done) < 2:
        return
    panels: dict[str, list[float]] = {"GMAC per clip": [row.gmac or 0.0 for row in done]}
    if all(row.measured is not None for row in done):
        panels["milliseconds per clip, inference"] = [
            1000 / row.measured.infer_clips_per_second for row in done if row.measured is not None
        ]
    figure = Figure(figsize=(5.2 * len(panels) + 1.8, 4.2), layout="constrained")
    drawn = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (label, costs) in zip(drawn, panels.items(), strict=True):
        for row, spent, style in zip(done, costs, _styles(), strict=False):
            error = None if row.deviation(head) is None else [100 * (row.deviation(head) or 0.0)]
            axes.errorbar([spent], [100 * (row.mean(head) or 0.0)], yerr=error, capsize=3, label=row.name, **style)
        if max(costs) > _DECADE * min(costs):
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())  # its labels would overlap
        else:
            axes.set_xlim(0, 1.08 * max(costs))
        axes.set_xlabel(label)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    drawn[0].set_ylabel(_axis(rows[0], head))
    figure.legend(*drawn[0].get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize="small")
    _save(figure, folder, "cost")


def _axis(row: Row, head: str) -> str:
    metric = METRIC_TITLES[row.metric]
    return f"{metric} (%)" if head == "action" else f"{head} {metric} (%)"


def _styles() -> Iterator[dict[str, Any]]:
    """Yield marker styles that differ in shape as well as in colour."""
    for number in itertools.count():
        yield {"fmt": "os^DvPX*<>"[number % 10], "color": f"C{number % 10}", "markersize": 8}


def _save(figure: Figure, folder: Path, name: str) -> None:
    for suffix in ("png", "pdf"):
        with atomic_path(folder / f"{name}.{suffix}") as temporary:
            figure.savefig(temporary, format=suffix, dpi=150)
