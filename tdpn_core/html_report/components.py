"""Blocks of a page that are words and numbers: text, headline tiles, facts, tables, clips, and boxes around blocks."""

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
    """A table cell with a share in [0, 1] as percentage over a bar; None: nothing to take a share of."""

    value: float | None


@dataclasses.dataclass(frozen=True)
class Clip:
    """A small film with words under it."""

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
    """A paragraph."""
    return block("text", content=content, kind="")


def note(content: str) -> Markup:
    """A paragraph of less weight."""
    return block("text", content=content, kind="note")


def warning(content: str) -> Markup:
    """A paragraph that must not be overlooked."""
    return block("text", content=content, kind="warning")


def grid(blocks: Iterable[Markup]) -> Markup:
    """Blocks side by side where there is room."""
    return block("grid", blocks=list(blocks))


def details(summary: str, blocks: Iterable[Markup]) -> Markup:
    """Blocks that show when `summary` is opened, by a click or a key."""
    return block("details", summary=summary, blocks=list(blocks))


def tiles(items: Iterable[Tile]) -> Markup:
    """Headline numbers in a row."""
    return block("tiles", items=[dataclasses.astuple(item) for item in items])


def facts(items: Mapping[str, object]) -> Markup:
    """Names and values."""
    return block("facts", items=[(name, str(value)) for name, value in items.items()])


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Markup:
    """A table that scrolls within itself, with the mouse or the keyboard; columns of numbers stand to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [bool(cells) and all(row[column].number for row in cells) for column in range(len(head))]
    return block("table", caption=caption, head=list(zip(head, numeric, strict=True)), rows=cells)


def clips(items: Iterable[Clip]) -> Markup:
    """Films (H.264 in MP4) that play when asked to, inside the page."""
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
