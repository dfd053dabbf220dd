"""Plot of an ablation: a dot per seed, with mean and standard deviation next to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tdpn_core.ablation.statistics import Row
from tdpn_core.files import atomic_path

_BLUE = "#1f5fa8"


def write_plot(rows: Sequence[Row], folder: Path) -> None:
    """Write `plot.png` and `plot.pdf` to `folder`: top-1 of the first head, the first row's mean as a line."""
    from matplotlib.figure import Figure  # without pyplot, which needs global state

    head = next((name for row in rows for name in row.top1), "action")
    figure = Figure(figsize=(max(4.0, 1.2 * len(rows) + 1), 3.6), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        mean = row.mean(head)
        if mean is None:
            continue
        values = [100 * value for value in row.top1[head]]
        axes.plot([place - 0.15] * len(values), values, "o", color=_BLUE, alpha=0.45, markersize=5)
        deviation = row.deviation(head)
        error = None if deviation is None else [100 * deviation]
        axes.errorbar([place], [100 * mean], yerr=error, fmt="s", color=_BLUE, capsize=4, markersize=7)
        axes.annotate(f"{100 * mean:.1f}", (place, 100 * mean), (8, 0), textcoords="offset points", va="center")
    baseline = rows[0].mean(head)
    if baseline is not None:
        axes.axhline(100 * baseline, color="#888888", linewidth=0.8, linestyle="--")
    axes.set_xticks(range(len(rows)), [row.name.replace(", ", "\n") for row in rows])
    axes.set_xlim(-0.6, len(rows) - 0.2)
    axes.set_xlabel(", ".join(rows[0].levels))
    axes.set_ylabel("top-1 (%)" if head == "action" else f"{head} top-1 (%)")
    axes.margins(y=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    for suffix in ("png", "pdf"):
        with atomic_path(folder / f"plot.{suffix}") as temporary:
            figure.savefig(temporary, format=suffix, dpi=150)
