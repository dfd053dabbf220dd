"""Read annotation files in any common encoding, with CRLF and quotes; errors name file and line.

UTF-8 and UTF-16 are recognised by byte order mark or content; all else is read as Windows-1252 (a superset of the
printable characters of Latin-1).
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tdpn_core.errors import DatasetError

_SHOWN = 60  # characters of a value in a message
_ENTRIES = {".json", ".xml", ".eaf"}
_HEAD = 4096  # bytes examined for zeros, which indicate UTF-16
_CHUNK = 1 << 20


def place_in(path: Path, number: int) -> str:
    """Return `line 3`, or `entry 3` of a file whose entries are no lines; both count from 1."""
    return f"{'entry' if path.suffix.lower() in _ENTRIES else 'line'} {number}"


def fault(path: Path, line: int, what: str, value: object = None, hint: str | None = None) -> DatasetError:
    """Return the error for a line or entry: `what` is wrong, `value` is the faulty text."""
    culprit = "" if value is None else f": {shorten(value)}"
    return DatasetError(f"{place_in(path, line)}: {what}{culprit}", where=path, hint=hint)


def check_quotes(path: Path, line: int, values: Iterable[str]) -> None:
    """Check that no value that is used extends over several lines, which an unclosed quote makes of all that follow.

    Args:
        path: the file.
        line: last line of the row, from 1.
        values: fields of the row.

    Raises:
        DatasetError: one does.
    """
    for value in values:
        if "\n" in value:
            what = "a quote is opened here and closed lines below, or never"
            raise fault(path, line - value.count("\n"), what, value, "close the quote, or leave it out")


def shorten(value: object) -> str:
    """Return a value shortened for messages."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def encoding_of(path: Path) -> str:
    """Return the encoding of a text file: `utf-8-sig` (UTF-8 with or without BOM), `utf-16…`, `cp1252` or `latin-1`.

    Raises:
        DatasetError: the file cannot be read.
    """
    try:
        with path.open("rb") as source:
            head = source.read(_HEAD)
            if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                return "utf-16"
            if b"\0" in head and not head.startswith(codecs.BOM_UTF8):  # Latin text in UTF-16: every other byte is 0
                zeros = (head[0::2].count(0), head[1::2].count(0))
                if max(zeros) * 2 > len(head) // 2:
                    return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
            for encoding in ("utf-8-sig", "cp1252"):
                source.seek(0)
                if _decodes(source, encoding):
                    return encoding
            return "latin-1"
    except OSError as error:
        raise DatasetError(f"cannot be read: {error}", where=path) from error


def _decodes(source: BinaryIO, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while part := source.read(_CHUNK):
            decoder.decode(part)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number, stripped line) for every line that is not blank.

    Raises:
        DatasetError: the file cannot be read.
    """
    try:
        with path.open(encoding=encoding_of(path)) as source:
            for number, line in enumerate(source, 1):
                if line := line.strip():
                    yield number, line
    except (OSError, UnicodeError) as error:
        raise DatasetError(f"cannot be read: {error}", where=path) from error


def read_fields(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (number, fields) for every line that is not blank, with quotes resolved.

    Raises:
        DatasetError: the file cannot be read.
    """
    try:
        with path.open(newline="", encoding=encoding_of(path)) as source:
            if len(separator) > 1:
                for number, line in enumerate(source, 1):
                    if line.strip():
                        yield number, [field.strip().strip('"') for field in line.split(separator)]
                return
            reader = csv.reader(source, delimiter=separator, skipinitialspace=separator != " ")
            for fields in reader:
                if any(field.strip() for field in fields):
                    yield reader.line_num, [field.strip() for field in fields]
    except (OSError, UnicodeError, csv.Error) as error:
        raise DatasetError(f"cannot be read: {error}", where=path) from error


def read_header(path: Path, separator: str = ",") -> list[str]:
    """Return the fields of the first line; empty if the file is empty."""
    return next((fields for _, fields in read_fields(path, separator)), [])


def read_columns(
    path: Path, names: Sequence[str], optional: Sequence[str] = (), separator: str = ","
) -> Iterator[tuple[int, list[str]]]:
    """Yield (number, values of the named columns) for every row below the header; "" for missing optional columns.

    Raises:
        DatasetError: the file cannot be read, is empty, lacks a column, or a row is too short.
    """
    rows = read_fields(path, separator)
    header = next((fields for _, fields in rows), None)
    if header is None:
        raise DatasetError("is empty", where=path)
    lacking = [name for name in names if name not in header]
    if lacking:
        raise DatasetError(f"has no column {lacking[0]!r}; its header is {','.join(header)}", where=path)
    places = [header.index(name) for name in names]
    places += [header.index(name) if name in header else -1 for name in optional]
    needed = max(places[: len(names)], default=-1)
    for number, fields in rows:
        if len(fields) <= needed:
            raise fault(path, number, f"{len(fields)} fields, but the header has {len(header)}", ",".join(fields))
        values = [fields[place] if 0 <= place < len(fields) else "" for place in places]
        check_quotes(path, number, values)
        yield number, values


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        DatasetError: the file cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding=encoding_of(path)))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"cannot be read: {error}", where=path) from error
