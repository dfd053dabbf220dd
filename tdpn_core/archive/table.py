"""Tables with typed columns, as CSV or Parquet by the suffix of the file, written row by row."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from tdpn_core.errors import ToolError, UsageError
from tdpn_core.files import atomic_path

CSV, PARQUET = ".csv", ".parquet"

_ROWS_AT_ONCE = 4096  # of a Parquet file in memory: 32 MB for features of 2048 channels

Row = Sequence[Any]
"""A value for each column; None: there is none."""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    kind: Literal["text", "number", "seconds", "probability", "vector"] = "text"
    """`number` is an integer, `vector` a float32 array."""


_TEXTS: dict[str, Callable[[Any], str]] = {
    "text": str,
    "number": str,
    "seconds": lambda value: f"{value:.3f}",
    "probability": lambda value: f"{value:.6f}",
    "vector": lambda value: "[" + ", ".join(f"{number:.7g}" for number in value.tolist()) + "]",
}
"""Values of each kind in a CSV file."""


def check_table(path: Path, *, option: str) -> None:
    """Check that a table can be written as `path` says.

    Raises:
        UsageError: the suffix is of another format.
        ToolError: it is a Parquet file, and pyarrow is not installed.
    """
    if path.suffix not in (CSV, PARQUET):
        raise UsageError("is neither .csv nor .parquet", where=path, hint=f"{option} writes these, or into a folder")
    if path.suffix == PARQUET:
        _arrow(path)


def write_table(path: Path, columns: Sequence[Column], rows: Iterable[Row]) -> None:
    """Write a table atomically, in memory that does not grow with its rows.

    Raises:
        TdpnError: the disk is full, or the folder cannot be written.
        UsageError, ToolError: see `check_table`.
    """
    check_table(path, option="--archive")
    with atomic_path(path) as temporary:
        if path.suffix == PARQUET:
            _write_parquet(temporary, path, columns, rows)
        else:
            with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                write_csv(file, columns, rows)


def write_csv(file: IO[str], columns: Sequence[Column], rows: Iterable[Row]) -> None:
    """Write a table as CSV, with 3 digits of seconds and 6 of probabilities; empty where there is no value."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(column.name for column in columns)
    texts = [_TEXTS[column.kind] for column in columns]
    for row in rows:
        writer.writerow("" if value is None else text(value) for text, value in zip(texts, row, strict=True))


def _write_parquet(path: Path, named: Path, columns: Sequence[Column], rows: Iterable[Row]) -> None:
    arrow, parquet = _arrow(named)
    types = {
        "text": arrow.string(),
        "number": arrow.int64(),
        "seconds": arrow.float64(),
        "probability": arrow.float64(),
        "vector": arrow.list_(arrow.float32()),
    }
    schema = arrow.schema([(column.name, types[column.kind]) for column in columns])
    left = iter(rows)
    with parquet.ParquetWriter(path, schema) as writer:
        while some := list(islice(left, _ROWS_AT_ONCE)):
            values = [
                _vectors(arrow, cells) if column.kind == "vector" else arrow.array(map(_storable, cells), kind)
                for column, kind, cells in zip(columns, schema.types, zip(*some, strict=True), strict=True)
            ]
            writer.write_table(arrow.Table.from_arrays(values, schema=schema))


def _vectors(arrow: Any, cells: Sequence[Any]) -> Any:
    """Return float32 arrays as an arrow array, without an object for each number."""
    ends = np.cumsum([0, *map(len, cells)], dtype=np.int32)
    return arrow.ListArray.from_arrays(ends, np.concatenate(cells).astype(np.float32, copy=False))


def _storable(value: Any) -> Any:
    """Return text as valid UTF-8: the name of a file may be other bytes."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _arrow(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        hint = "pip install 'tdpn[parquet]', or write another format"
        raise ToolError("Parquet files require the package pyarrow", where=path, hint=hint) from error
    return pyarrow, parquet


def to_json(columns: Sequence[Column], row: Row) -> str:
    """Return a row as one line of JSON."""
    return json.dumps(
        [
            base64.b64encode(value.astype("<f4").tobytes()).decode() if column.kind == "vector" else value
            for column, value in zip(columns, row, strict=True)
        ]
    )


def from_json(columns: Sequence[Column], line: str | bytes) -> Row:
    """Return the row of a line that `to_json` wrote."""
    return [
        np.frombuffer(base64.b64decode(value), "<f4") if column.kind == "vector" else value
        for column, value in zip(columns, json.loads(line), strict=True)
    ]
