"""The annotation files of Kinetics, row by row.

csv files are read by their header, so the crawler's, CVDF's and DeepMind's dialects are one. DeepMind's json files say
the same once more, and are read where no csv file lies beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tdpn_core.datasets.splits import split_of_file, split_of_folder
from tdpn_core.datasets.text import fault, read_columns, read_header, read_json, shorten
from tdpn_core.errors import DatasetError

SIZES = (400, 600, 700)
YOUTUBE_ID = "youtube_id"

_SIZE = re.compile(r"(?:k|kinetics)[-_]?(400|600|700)", re.IGNORECASE)
_JSON = re.compile(r'\s*\{\s*"[^"]+"\s*:\s*\{.*?"annotations"\s*:\s*\{', re.DOTALL)
_HEAD = 4096  # characters of a json file that tell what it is


def is_annotation(path: Path) -> bool:
    """Whether a file annotates Kinetics: a csv file with a youtube_id, or DeepMind's json without a csv beside it."""
    try:
        if path.suffix.lower() == ".csv":
            return YOUTUBE_ID in read_header(path)
        return path.suffix.lower() == ".json" and _is_json(path) and not _has_table(path.with_suffix(".csv"))
    except DatasetError:  # some other file
        return False


def annotation_files(name: str, texts: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """The annotation files but for those of another size of Kinetics; and notes on these."""
    files, notes = [], []
    for path in texts:
        if not is_annotation(path):
            continue
        size = stated_size(path)
        if size and size != name.removeprefix("kinetics"):
            notes.append(f"{path.name} is of Kinetics-{size} and not used")
        else:
            files.append(path)
    return files, notes


def stated_size(path: Path) -> str | None:
    """400, 600 or 700, if a file or the folder it lies in says so."""
    for part in (path.name, path.parent.name, path.parent.parent.name):
        if match := _SIZE.search(part):
            return match[1]
    return None


def read_rows(path: Path) -> Iterator[tuple[int, str, str, str]]:
    """(line, clip, split, label or "") of every row; the line of a json file is the number of the entry.

    Raises:
        DatasetError: a row is no annotation.
    """
    stated = split_of_file(path.stem)
    for line, (video, start, end, split, label) in _rows(path):
        if not video:
            raise fault(path, line, "is no annotation: youtube_id is empty")
        try:
            name = f"{video}_{int(float(start)):06d}_{int(float(end)):06d}"
        except (ValueError, OverflowError, TypeError) as error:
            raise fault(path, line, f"is no annotation: {error}") from error
        known = split_of_folder(split) if split else stated
        if known is None:
            raise (
                fault(path, line, "is no annotation, there is no such split", split)
                if split
                else fault(path, line, "names no split, nor does the file")
            )
        yield line, name, known, label


def _rows(path: Path) -> Iterator[tuple[int, list[Any]]]:
    """(line, [video, start, end, split, label])."""
    if path.suffix.lower() == ".csv":
        yield from read_columns(path, (YOUTUBE_ID, "time_start", "time_end"), ("split", "label"))
        return
    for number, (video, entry) in enumerate(read_json(path).items(), 1):
        try:
            said = entry["annotations"]
            start, end = said["segment"]
            yield number, [video, start, end, str(entry.get("subset", "")), str(said.get("label", ""))]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"is no annotation with a segment: {shorten(entry)}"
            raise fault(path, number, what, video) from error


def _is_json(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8-sig") as source:
            return _JSON.match(source.read(_HEAD)) is not None
    except (OSError, UnicodeDecodeError):
        return False


def _has_table(path: Path) -> bool:
    return path.is_file() and YOUTUBE_ID in read_header(path)
