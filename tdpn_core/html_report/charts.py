"""Charts of a page as inline SVG: line charts and share matrices."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from tdpn_core.html_report.page import block

Points = Sequence[tuple[float, float]]

_SMALLEST_RANGE = 1e-11  # smaller ranges get one tick, since labels could not distinguish two
_LEVELS = 10
_LABELLED_ROWS = 24
"""Number of classes up to which matrix rows have labels."""

_NUMBERED = 20
"""Number of classes up to which matrix columns have labels and cells have numbers; more would be illegible."""

_NAMED_CELLS = 40
"""Number of classes up to which matrix cells have tooltips; more would make the page megabytes large."""


@dataclasses.dataclass(frozen=True)
class _Frame:
    width: int = 480
    height: int = 270
    left: int = 52
    right: int = 466
    top: int = 26
    bottom: int = 222


def line_chart(title: str, series: Mapping[str, Points], *, x: str, y: str, percent: bool = False) -> Markup:
    """Draw named lines of points (x, y); non-finite points and empty series are left out.

    `x` and `y` are axis labels. With `percent`, y is a share shown as 0 to 100 %.
    """
    finite = {name: [(a, b) for a, b in points if math.isfinite(a + b)] for name, points in series.items()}
    shown = {name: points for name, points in finite.items() if points}
    if not shown:
        return block("text", content=f"{title}: nothing to show.", kind="note")
    xs = [a for points in shown.values() for a, _ in points]
    ys = [b for points in shown.values() for _, b in points]
    x_ticks, y_ticks = ticks(min(xs), max(xs)), [k / 4 for k in range(5)] if percent else ticks(min(ys), max(ys))
    if all(a == int(a) for a in xs):  # epochs and steps come in whole numbers
        x_ticks = [tick for tick in x_ticks if tick == int(tick)]
    frame = _Frame()
    across = _scale(min(xs), max(xs), frame.left, frame.right)
    up = _scale(min(y_ticks + ys), max(y_ticks + ys), frame.bottom, frame.top)
    paths = [_path([(across(a), up(b)) for a, b in points]) for points in shown.values()]
    drawing = block(
        "lines",
        title=title,
        frame=frame,
        x_label=x,
        y_label=y,
        x_ticks=[(across(tick), _number(tick)) for tick in x_ticks if min(xs) <= tick <= max(xs)],
        y_ticks=[(up(tick), f"{tick:.0%}" if percent else _number(tick)) for tick in y_ticks],
        paths=paths,
    )
    return block("figure", caption=title, drawing=drawing, legend=list(shown) if len(shown) > 1 else [])


def matrix_chart(
    title: str,
    shares: npt.NDArray[np.floating],
    names: Sequence[str],
    *,
    verb: str,
    counts: npt.NDArray[np.integer] | None = None,
) -> Markup:
    """Draw a square matrix of shares in [0, 1], darker for higher values; rows and columns are `names`.

    Up to `_NUMBERED` names, columns have labels, and each cell shows its number in `counts`. Up to `_NAMED_CELLS`,
    cells have the tooltip "<row> <verb> <column>: <share>".
    """
    size = len(names)
    level = np.ceil(np.nan_to_num(shares) * _LEVELS).astype(int)
    levels = []
    for step in range(1, _LEVELS + 1):
        rows, columns = np.nonzero(level == step)
        path = "".join(f"M{column} {row}h1v1h-1z" for row, column in zip(rows, columns, strict=True))
        if path:
            levels.append((round(0.15 + 0.85 * step / _LEVELS, 3), path))
    cells = []
    if size <= _NAMED_CELLS:
        cells = [
            (column, row, f"{names[row]} {verb} {names[column]}: {shares[row, column]:.1%}")
            for row, column in np.argwhere(level > 0).tolist()
        ]
    labels = list(names) if size <= _LABELLED_ROWS else []
    longest = max(map(len, labels), default=0)
    letter = 0.036 * size  # high; the widest letters are as wide
    left = round(min(0.62 * letter * longest + 0.4 * letter, 0.6 * size), 2)
    numbered = size <= _NUMBERED
    frame = {
        "left": left if labels else 0,
        "top": left if numbered else 0,
        "letter": round(letter, 3),
        "digit": round(min(letter, 0.9 / max(1, len(str(int(counts.max()))))), 3) if counts is not None else 0,
    }
    numbers = []
    if numbered and counts is not None:
        dark = level > _LEVELS // 2
        cells_with = np.argwhere(counts > 0).tolist()
        numbers = [(column, row, int(counts[row, column]), bool(dark[row, column])) for row, column in cells_with]
    drawing = block(
        "matrix", title=title, size=size, levels=levels, cells=cells, labels=labels, frame=frame, numbers=numbers
    )
    return block("figure", caption=title, drawing=drawing, legend=[])


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return at most `most` round numbers, spaced 1, 2 or 5 times a power of ten, that cover [low, high]."""
    if high - low < _SMALLEST_RANGE:
        return [low]
    raw = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    for step in (power, 2 * power, 5 * power, 10 * power, 20 * power):
        first, last = math.floor(low / step), math.ceil(high / step)
        if last - first < most:
            return [round(k * step, 12) for k in range(first, last + 1)]
    return [low, high]


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """Return a linear map from [low, high] to pixels; an empty range maps to the middle."""

    def place(value: float) -> float:
        share = (value - low) / (high - low) if high > low else 0.5
        return round(start + share * (end - start), 1)

    return place


def _path(points: Sequence[tuple[float, float]]) -> tuple[str, list[tuple[float, float]]]:
    """Return the line through points, and dots if there are so few that a line may be invisible."""
    path = "M" + "L".join(f"{a:g} {b:g}" for a, b in points)
    return path, list(points) if len(points) <= 2 else []


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e6 else f"{value:.3g}"
