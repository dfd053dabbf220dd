"""What `tdpn prep` understood, for a person."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tdpn_core.wording import agree, counted

if TYPE_CHECKING:
    from tdpn_core import Overview

_WIDTH, _INDENT = 80, 12
_CLASSES = 6
_TWINS = 3


def lines(seen: Overview) -> list[str]:
    """Lines of at most 80 columns."""
    shown = [f"{seen.root}: {seen.dataset}" + (f", {seen.read.layout}" if seen.read.layout else "")]
    for name, text in _entries(seen):
        begin = f"  {name:<{_INDENT - 2}}"
        plain = text.encode(errors="backslashreplace").decode().replace("\n", "\\n")
        shown += textwrap.wrap(
            plain, _WIDTH, initial_indent=begin, subsequent_indent=" " * _INDENT, break_on_hyphens=False
        )
    return shown


def _entries(seen: Overview) -> Iterator[tuple[str, str]]:
    read = seen.read
    for head, counts in read.classes.items():
        yield "classes" if len(read.classes) == 1 else head, _classes(dict(counts))
    drawn = "; drawn by us: nothing says which clips are for validation" if seen.drawn else ""
    yield "splits", ", ".join(f"{split} {count}" for split, count in read.found.items()) + drawn
    if read.annotations:
        yield "files", ", ".join(_within(path, seen.root) for path in read.annotations)
    if read.columns_used:
        yield "columns", ", ".join(f"{name} {_are(name)} the {role}" for role, name in read.columns_used.items())
    if read.columns_ignored:
        columns = agree(len(read.columns_ignored), "column", "columns")
        yield "not used", f"{columns} {', '.join(read.columns_ignored)}"
    total, missing = sum(read.found.values()), sum(read.missing.values())
    without = f", {read.unlabelled} without a label" if read.unlabelled else ""
    yield "clips", f"{sum(read.listed.values())} listed, {total} found, {missing} missing{without}"
    for line in read.odd_lines[:_TWINS]:
        yield "odd line", str(line)
    if len(read.odd_lines) > _TWINS:
        yield "", f"and {counted(len(read.odd_lines) - _TWINS, 'more odd line')}, in --json"
    if seen.flip_pairs:
        yield "flips", "swap labels: " + _joined([f"{one} / {other}" for one, other in seen.flip_pairs])
    if seen.unflippable:
        yield "", f"not flipped, since their mirror is no class: {_joined(seen.unflippable)}"
    if seen.twins:
        yield "twins", _twins(seen)
    for name, entries in (("stop", seen.nonsense), ("check", seen.doubts), ("note", read.notes)):
        for text in entries:
            yield name, text


def _classes(counts: dict[str, int]) -> str:
    if len(counts) > 1 and len(set(counts.values())) == 1:
        names = [repr(name) if "," in name else name for name in counts]
        return f"{len(names)}: {_joined(names)}; {next(iter(counts.values()))} each"
    names = [f"{name!r} {count}" if "," in name else f"{name} {count}" for name, count in counts.items()]
    if len(names) <= _CLASSES:
        return f"{len(names)}: {', '.join(names)}"
    fewest, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    ends = f"fewest {counts[fewest]} ({fewest}), most {counts[most]} ({most})"
    return f"{len(names)}: {', '.join(names[:_CLASSES])}, …; {ends}"


def _twins(seen: Overview) -> str:
    across = [twin for twin in seen.twins if twin.split != twin.twin_split]
    by = {"name": "by name", "bytes": "same bytes"}
    some = [f"{twin.clip} and {twin.twin} ({by.get(twin.how, twin.how)})" for twin in seen.twins[:_TWINS]]
    more = f"; and {len(seen.twins) - _TWINS} more" if len(seen.twins) > _TWINS else ""
    what = (
        f"{len(seen.twins)} possible, {len(across)} of them across the split"
        if across
        else f"{len(seen.twins)} possible"
    )
    return f"{what}: {'; '.join(some)}{more}"


def _within(path: Path, root: str) -> str:
    """Where a file is below the root; elsewhere, its path as given."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _are(fields: str) -> str:
    """The verb for a column's name, or for "first fields" of a file without names."""
    return "are" if fields.endswith(" fields") else "is"


def _joined(names: list[str]) -> str:
    return ", ".join(names[:_CLASSES]) + (f", and {len(names) - _CLASSES} more" if len(names) > _CLASSES else "")
