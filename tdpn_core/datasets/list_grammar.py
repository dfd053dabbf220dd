"""The grammar of a list file: which fields of its lines are the path, the labels, the class name and the split.

1. If the first line is a header (it names a path column), columns are identified by name (`columns`). 2. Else the
separator is the first of tab, `::`, `;`, `,` and space after which most lines end in integers; the most frequent count
of integers at the end of lines applies to all. Lines are split from the right, since a path may contain the separator.
3. Else, without numbers, the last field of most lines is a class name; quotes are resolved. 4. Else a line is a path.
A line that does not match is an odd line: it is left out and reported with its number. Odd lines do not affect how
other lines are read; if they are more than a quarter, the file is refused.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from tdpn_core.datasets.annotation_io import check_quotes, fault, read_fields, read_lines, shorten
from tdpn_core.datasets.columns import COLUMN_NAMES, END, LABEL, NAME, PATH, SPLIT, START, places_of
from tdpn_core.datasets.scan import VIDEO_SUFFIXES
from tdpn_core.datasets.splits import SYNONYMS, split_of_folder
from tdpn_core.datasets.understanding import OddLine
from tdpn_core.errors import DatasetError

MOST_NUMBERS = 4
LARGEST_CLASS = 100_000  # larger numbers are ids, not classes

_SEPARATORS = ("\t", "::", ";", ",", " ")
_BETWEEN_LABELS = ("|", ";")
_WHOLE = re.compile(r"(-?\d+)(?:\.0*)?")
_AFTER_VIDEO = re.compile(rf"(.+?(?:{'|'.join(map(re.escape, sorted(VIDEO_SUFFIXES)))}))\s+(\S.*)", re.IGNORECASE)
_NOTHING = {"", "nan", "none", "null", "n/a", "na", "?"}
_SAMPLE = 20_000  # lines examined to determine the grammar
_LOOKED_AT = 20  # of these, clips that are looked up on disk
_SHOWN = 20  # odd lines that are stored
_MOST_ODD = 0.25

Find = Callable[[str], bool]
"""Whether a path of the list is on disk."""


@dataclass(frozen=True)
class Line:
    """One clip of a list."""

    number: int
    path: str
    values: tuple[int, ...] = ()
    """The numbers after the path; the last ones are labels."""

    label: str | None = None
    """Class name, if the list has no numbers or names next to them."""

    split: str | None = None


@dataclass(frozen=True)
class Grammar:
    """How the lines of a list are parsed."""

    separator: str
    numbers: int = 0
    """Number of integers after the path."""

    named: int = 0
    """If the last field is a class name: the number of fields that form the path."""

    width: int = 0
    """Number of fields of most lines, if the last is a class name."""

    header: tuple[str, ...] = ()
    columns: dict[str, int] = field(default_factory=dict)
    """Column by role, if there is a header."""

    def columns_used(self) -> dict[str, str]:
        """Return the column by role, as text."""
        if self.header:
            return {role: self.header[place] for role, place in self.columns.items()}
        if self.named:
            return {PATH: "first fields", LABEL: "last field"}
        if not self.numbers:
            return {PATH: "the line"}
        return {PATH: "first fields", LABEL: "last field" if self.numbers < MOST_NUMBERS else "last two fields"}

    def columns_ignored(self) -> tuple[str, ...]:
        """Return header columns without a role, or the fields between path and class name."""
        if self.named:
            return tuple(f"field {place + 1}" for place in range(self.named, self.width - 1))
        used = set(self.columns.values())
        return tuple(name for place, name in enumerate(self.header) if place not in used)


def whole(text: str) -> int | None:
    """Parse an integer as written in lists: `3`, `3.0`, `"3"`."""
    match = _WHOLE.fullmatch(text.strip().strip('"'))
    return int(match[1]) if match else None


# --- the grammar of a file


def grammar_of(path: Path, find: Find) -> Grammar:
    """Determine the grammar of a list file from its header or the majority of its lines.

    Raises:
        DatasetError: the file is empty or cannot be read, or its header has no known path column.
    """
    lines = [text for _, text in islice(read_lines(path), _SAMPLE)]
    if not lines:
        raise DatasetError("is empty", where=path)
    if header := _header(path, lines, find):
        return header
    grammar = _numbered(lines) or _named(lines, find) or Grammar("\n")
    grammar = _settled(grammar, lines, find)
    _refuse_unknown_header(path, lines, grammar, find)
    return grammar


def _header(path: Path, lines: list[str], find: Find) -> Grammar | None:
    for separator in _SEPARATORS:
        fields = _fields(lines[0], separator)
        places = places_of(fields)
        if PATH not in places or (len(fields) > 1 and not places.keys() & {LABEL, NAME, SPLIT}):
            continue
        if find(lines[0]) or len(lines) == 1:
            continue
        if len(fields) == 1 and any(len(_fields(line, other)) > 1 for line in lines[1:3] for other in ("\t", ";", ",")):
            continue
        columns = {role: found[0] for role, found in places.items()}
        if LABEL not in columns and NAME in columns:
            columns[LABEL] = columns.pop(NAME)
        if len(places[PATH]) > 1:  # choose the one that contains file paths
            rows = [fields for _, fields in islice(read_fields(path, separator), 1, _LOOKED_AT)]
            hits = {place: sum(len(row) > place and find(row[place]) for row in rows) for place in places[PATH]}
            columns[PATH] = max(hits, key=lambda place: hits[place])
        return Grammar(separator, header=tuple(fields), columns=columns)
    return None


def _fields(line: str, separator: str) -> list[str]:
    if len(separator) > 1:
        return [part.strip() for part in line.split(separator)]
    return [part.strip() for part in next(csv.reader([line], delimiter=separator, skipinitialspace=True))]


def _numbered(lines: list[str]) -> Grammar | None:
    """Find the separator after which most lines end in numbers, and the most frequent count of numbers."""
    for separator in _SEPARATORS:
        counts = Counter(_trailing_numbers(line, separator) for line in lines)
        if counts[0] * 2 < len(lines):
            del counts[0]
            enough = [
                count for count in counts if sum(n for c, n in counts.items() if c >= count) * 4 >= len(lines) * 3
            ]
            numbers = max(enough, default=max(counts, key=lambda count: (counts[count], -count)))
            return Grammar(separator, numbers)
    return None


def _trailing_numbers(line: str, separator: str) -> int:
    """Return how many fields from the right are numbers; the first field is the path."""
    fields = line.split(separator) if separator != " " else line.split()
    count = 0
    for part in reversed(fields[1:]):
        if count == MOST_NUMBERS or whole(part) is None:
            break
        count += 1
    return count


def _named(lines: list[str], find: Find) -> Grammar | None:
    """Find the separator by which most lines are a path and a class name."""
    for separator in _SEPARATORS[:-1]:
        rows = [_fields(line, separator) for line in lines]
        widths = Counter(len(row) for row in rows)
        if widths[1] * 2 >= len(lines):
            continue
        width = max(widths, key=lambda one: (one > 1, widths[one]))
        sample = [row for row in rows if len(row) == width][:_LOOKED_AT]
        hits = {count: sum(find(separator.join(row[:count])) for row in sample) for count in range(width - 1, 0, -1)}
        return Grammar(separator, named=max(hits, key=lambda count: hits[count]), width=width)
    if sum(_AFTER_VIDEO.fullmatch(line) is not None for line in lines) * 2 > len(lines):
        return Grammar(" ", named=1, width=2)
    return None


def _settled(grammar: Grammar, lines: list[str], find: Find) -> Grammar:
    """Correct the grammar using files on disk, since a path could itself end in a number."""
    if grammar.separator != " " or grammar.named:
        return grammar
    sample = lines[:: max(1, len(lines) // _LOOKED_AT)]
    hits = {numbers: sum(find(_rest(line, " ", numbers)[0]) for line in sample)
            for numbers in range(grammar.numbers, -1, -1)}  # fmt: skip
    return replace(grammar, numbers=max(hits, key=lambda numbers: hits[numbers]))


def _refuse_unknown_header(path: Path, lines: list[str], grammar: Grammar, find: Find) -> None:
    """Refuse a first line that looks like a header with unknown names."""
    if len(lines) < 2:
        return
    separator = grammar.separator if grammar.separator != "\n" else ","
    first = _fields(lines[0], separator)
    word = first[0]
    if any(sign in word for sign in "/\\.0123456789") or any(map(find, (lines[0], word))):
        return
    numbers_differ = grammar.numbers > 0 and _trailing_numbers(lines[0], separator) == 0
    sample = lines[1 : _LOOKED_AT + 1]
    others = sum(find(_fields(line, separator)[0]) for line in sample)
    if numbers_differ or (others and len(first) > 1):
        what = f"line 1 looks like a header without a known path and label column: {shorten(lines[0])}"
        known = [f"{role} (or {', '.join(COLUMN_NAMES[role][1:8])})" for role in (PATH, LABEL)]
        hint = f"name them {known[0]} and {known[1]}"
        raise DatasetError(what, where=path, hint=hint)


# --- the lines of a file


def _rest(line: str, separator: str, numbers: int) -> tuple[str, list[str]]:
    """Return the path of a line and the `numbers` fields after it."""
    if not numbers:
        return line.strip().strip('"'), []
    parts = line.rsplit(separator if separator != " " else None, numbers)
    return parts[0].strip().strip('"'), [part.strip() for part in parts[1:]]


class ListFile:
    """A list file and its grammar; `lines` yields its clips and collects the odd lines."""

    def __init__(self, path: Path, grammar: Grammar, split: str | None, *, multilabel: bool = False) -> None:
        """Store the arguments; nothing is read yet.

        Args:
            path: the file.
            grammar: how its lines are parsed.
            split: split of lines without one.
            multilabel: a field of labels may have several of them, separated by `|` or `;`.
        """
        self.path = path
        self.grammar = grammar
        self.split = split
        self.multilabel = multilabel
        self.odd: list[OddLine] = []
        self.odd_count = 0
        self._shape: tuple[bool, bool] | None = None

    @property
    def has_splits(self) -> bool:
        """Whether the lines contain their splits."""
        return SPLIT in self.grammar.columns

    @property
    def has_segments(self) -> bool:
        """Whether any line gives the start or end of a part of a video."""
        if not self.grammar.header or not {START, END} & set(self.grammar.columns):
            return False
        rows = read_fields(self.path, self.grammar.separator)
        next(rows, None)
        return any(self._value(role, fields) for _, fields in rows for role in (START, END))

    @property
    def by_name(self) -> bool:
        """Whether classes are given only by name."""
        if not self.grammar.header:
            return self.grammar.named > 0
        return self._label_shape()[1]

    def lines(self) -> Iterator[Line]:
        """Yield the clips of the list.

        Raises:
            DatasetError: the file cannot be read, more than a quarter of its lines are odd, or a split is unknown.
        """
        self.odd.clear()
        self.odd_count = count = 0
        for line in self._by_header() if self.grammar.header else self._by_place():
            count += 1
            if line is not None:
                yield from self._apart(line)
        if self.odd_count > 1 and self.odd_count > count * _MOST_ODD:
            what = f"{self.odd_count} of {count} lines differ in format from the others"
            raise DatasetError(what, where=self.path, hint="; ".join(map(str, self.odd[:3])))

    def labels(self, text: str) -> list[str]:
        """Return the labels in a field: one, or several in multi-label data."""
        return split_labels(text) if self.multilabel else [text]

    def _apart(self, line: Line) -> Iterator[Line]:
        """Yield a line for each of the labels of `line`."""
        if line.label is None or line.values:
            yield line
            return
        for label in self.labels(line.label):
            yield replace(line, label=label)

    def _odd(self, number: int, reason: str, text: str) -> None:
        self.odd_count += 1
        if len(self.odd) < _SHOWN:
            self.odd.append(OddLine(self.path, number, f"{reason}, left out", shorten(text)))

    def _by_place(self) -> Iterator[Line | None]:
        grammar = self.grammar
        for number, text in read_lines(self.path):
            if grammar.named:
                yield self._with_name(number, text)
                continue
            name, fields = _rest(text, grammar.separator, grammar.numbers)
            values = [whole(one) for one in fields]
            if len(values) < grammar.numbers or not name or None in values:
                self._odd(number, f"is not a path and {_count(grammar.numbers, 'number')}", text)
                yield None
            else:
                yield Line(number, name, tuple(value for value in values if value is not None))

    def _with_name(self, number: int, text: str) -> Line | None:
        grammar = self.grammar
        if grammar.separator == " ":
            match = _AFTER_VIDEO.fullmatch(text)
            fields = [match[1], match[2].strip('"')] if match else []
        else:
            fields = _fields(text, grammar.separator)
        if len(fields) <= grammar.named or (grammar.named == 1 and len(fields) != grammar.width):
            self._odd(number, "is not a path and a class name", text)
            return None
        if fields[-1].lower() in _NOTHING:
            self._odd(number, "has no label", text)
            return None
        place = max(grammar.named, len(fields) - 1) if grammar.named > 1 else grammar.named
        return Line(number, grammar.separator.join(fields[:place]).strip(), label=fields[-1])

    def _by_header(self) -> Iterator[Line | None]:
        columns, rows = self.grammar.columns, read_fields(self.path, self.grammar.separator)
        next(rows, None)
        labelled, by_name = self._label_shape()
        used = [place for role, place in columns.items() if role in (PATH, LABEL, NAME, SPLIT)]
        needed = max(used)
        for number, fields in rows:
            text = self.grammar.separator.join(fields)
            check_quotes(self.path, number, fields if len(fields) <= needed else [fields[place] for place in used])
            if len(fields) <= columns[PATH] or not fields[columns[PATH]]:
                self._odd(number, "has no path", text)
                yield None
                continue
            if len(fields) <= needed:
                fields = [*fields, *[""] * (needed + 1 - len(fields))]
            split = self._split(number, fields)
            label, name = self._value(LABEL, fields), self._value(NAME, fields)
            values = [whole(one) for one in self.labels(label)] if label else [None]
            if not labelled:
                yield Line(number, fields[columns[PATH]], split=split)
            elif by_name and (label or name):
                yield Line(number, fields[columns[PATH]], label=label or name, split=split)
            elif not by_name and None not in values:
                alone = name or None if len(values) == 1 else None  # names next to several numbers are not assigned
                for value in values:
                    yield Line(number, fields[columns[PATH]], (value or 0,), alone, split)
            elif not label and self.multilabel:
                yield Line(number, fields[columns[PATH]], split=split)
            else:
                what = "is not a class number" if label else "has no label"
                parts = split_labels(label)
                several = len(parts) > 1 and all(whole(one) is not None for one in parts)
                self._odd(number, what + (" (--multilabel accepts several)" if several else ""), text)
                yield None

    def _value(self, role: str, fields: Sequence[str]) -> str:
        place = self.grammar.columns.get(role)
        text = fields[place] if place is not None and place < len(fields) else ""
        return "" if text.lower() in _NOTHING else text

    def _label_shape(self) -> tuple[bool, bool]:
        """Return (whether any line has a label, whether labels are names), by the majority of the labels."""
        if self._shape is None:
            numbers = names = 0
            rows = read_fields(self.path, self.grammar.separator)
            next(rows, None)
            for _, fields in rows:
                label = self._value(LABEL, fields)
                number = label != "" and all(whole(one) is not None for one in self.labels(label))
                numbers += number
                names += not number and (label or self._value(NAME, fields)) != ""
            self._shape = (numbers + names > 0, names >= max(numbers, 1))
        return self._shape

    def _split(self, number: int, fields: Sequence[str]) -> str | None:
        if not self.has_splits:
            return None
        stated = fields[self.grammar.columns[SPLIT]]
        split = split_of_folder(stated)
        if split is None:
            known = ", ".join(name for names in SYNONYMS.values() for name in names)
            hint = f"known splits: {known}; rename the column if it is not a split"
            raise fault(self.path, number, "has an unknown split", stated, hint)
        return split


def split_labels(text: str) -> list[str]:
    """Return the labels in a field with several of them, separated by `|` or `;`, without repetition."""
    between = next((one for one in _BETWEEN_LABELS if one in text), None)
    return list(dict.fromkeys(filter(None, map(str.strip, text.split(between))))) if between else [text]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
