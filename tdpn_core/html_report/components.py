"""Blocks of text and numbers for a page: paragraphs, tiles, facts, tables, clips, and containers."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup

from tdpn_core.html_report.page import block


@dataclasses.dataclass(frozen=True)
class Tile:
    """A headline number."""

    label: str
    value: str
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Share:
    """A table cell with a share in [0, 1], shown as percentage over a bar; None if undefined."""

    value: float | None


@dataclasses.dataclass(frozen=True)
class Clip:
    """A small video with a caption."""

    name: str
    mp4: bytes
    lines: Sequence[str]


Cell = str | int | float | Share


@dataclasses.dataclass(frozen=True)
class _Cell:
    text: str
    number: bool
    bar: str | None = None


def text(content: str) -> Markup:
    """Return a paragraph."""
    return block("text", content=content, kind="")


def note(content: str) -> Markup:
    """Return a paragraph in a lighter style."""
    return block("text", content=content, kind="note")


def warning(content: str) -> Markup:
    """Return a highlighted paragraph."""
    return block("text", content=content, kind="warning")


def grid(blocks: Iterable[Markup]) -> Markup:
    """Arrange blocks side by side if there is room."""
    return block("grid", blocks=list(blocks))


def details(summary: str, blocks: Iterable[Markup]) -> Markup:
    """Return a collapsible group of blocks."""
    return block("details", summary=summary, blocks=list(blocks))


def tiles(items: Iterable[Tile]) -> Markup:
    """Return headline numbers in a row."""
    return block("tiles", items=[dataclasses.astuple(item) for item in items])


def facts(items: Mapping[str, object]) -> Markup:
    """Return a list of names and values."""
    return block("facts", items=[(name, str(value)) for name, value in items.items()])


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Markup:
    """Return a scrollable table; columns of numbers are right-aligned."""
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [bool(cells) and all(row[column].number for row in cells) for column in range(len(head))]
    return block("table", caption=caption, head=list(zip(head, numeric, strict=True)), rows=cells)


def picture(caption: str, png: bytes) -> Markup:
    """Return a PNG picture with its caption, embedded in the page."""
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return block("picture", caption=caption, source=source)


def clips(items: Iterable[Clip]) -> Markup:
    """Return videos (H.264 in MP4) that play on demand, embedded in the page."""
    shown = [
        {
            "source": f"data:video/mp4;base64,{base64.b64encode(item.mp4).decode()}",
            "name": item.name,
            "lines": list(item.lines),
        }
        for item in items
    ]
    return block("clips", items=shown)


def _cell(value: Cell) -> _Cell:
    if isinstance(value, Share):
        if value.value is None:
            return _Cell("–", number=True)
        return _Cell(f"{value.value:.1%}", number=True, bar=f"{value.value:.3f}")
    if isinstance(value, str):
        return _Cell(value, number=False)
    return _Cell(f"{value:,}" if isinstance(value, int) else f"{value:.4g}", number=True)
