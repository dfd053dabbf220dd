"""Files of results so far. Each is written by one process and appears only when it is complete.

A line of JSON for each row, then one with the clips: name, stamp, error, place of the first row, number of rows; the
last line has the place of that one. A file is complete or absent, so a kill damages none.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from tdpn_core.archive.table import Column, Row, from_json, to_json
from tdpn_core.errors import ClipError

SUFFIX = ".jsonl"

_SAVE_EVERY_SECONDS = 20.0
_SAVE_EVERY_CLIPS = 500
_DIGITS = 20  # of the last line


class Entry(NamedTuple):
    """A clip with a result."""

    clip: str
    stamp: str
    """Of the file when it was read."""

    error: str
    """Why the clip failed; empty if it did not."""

    offset: int
    rows: int
    """Where its rows are in the file, and how many."""


class PartWriter:
    """Writes results into an open file."""

    def __init__(self, file: IO[bytes], key: str, columns: Sequence[Column]) -> None:
        self.entries: list[Entry] = []
        self._file, self._key, self._columns = file, key, columns
        self._end = 0  # of the rows of complete clips
        self._began = time.monotonic()

    @property
    def full(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._began > _SAVE_EVERY_SECONDS or len(self.entries) >= _SAVE_EVERY_CLIPS

    def add(self, clip: str, stamp: str, rows: Iterable[Row], error: str = "") -> None:
        """Write the rows of a clip while they are computed. If they raise a `ClipError`, it failed and has none."""
        count = 0
        try:
            for row in rows:
                self._file.write(to_json(self._columns, row).encode() + b"\n")
                count += 1
        except ClipError as failure:
            self.take_back()
            count, error = 0, str(failure)
        self.entries.append(Entry(clip, stamp, error, self._end, count))
        self._end = self._file.tell()

    def take_back(self) -> None:
        """Remove the rows of a clip that is not complete."""
        self._file.seek(self._end)
        self._file.truncate()

    def close(self) -> None:
        """Write which clips there are."""
        offset = self._file.tell()
        self._file.write(json.dumps({"key": self._key, "clips": self.entries}).encode())
        self._file.write(f"\n{offset:0{_DIGITS}}\n".encode())


def read_entries(path: Path, key: str | None) -> list[Entry]:
    """Return the clips of a file, none if they are of another `key` (None: any) or the file is damaged."""
    try:
        with path.open("rb") as file:
            end = file.seek(-_DIGITS - 2, os.SEEK_END)
            offset = int(file.read())
            file.seek(offset)
            found = json.loads(file.read(end - offset))
        return [Entry(*values) for values in found["clips"]] if key in (None, found["key"]) else []
    except (OSError, ValueError, KeyError, TypeError):
        return []  # its clips are computed again


def read_rows(path: Path, offset: int, count: int, columns: Sequence[Column]) -> Iterator[Row]:
    """Yield the rows of a clip."""
    with path.open("rb") as file:
        file.seek(offset)
        for _ in range(count):
            yield from_json(columns, file.readline())
