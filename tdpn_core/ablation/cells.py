"""Folders of the cells of a grid: what each is to run, and its result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tdpn_core.errors import UsageError
from tdpn_core.files import write_json
from tdpn_core.runs import CELL

RESULT = "result.json"


def prepare_cell(folder: Path, call: dict[str, Any]) -> Path:
    """Return the folder of a cell, prepared to run.

    Raises:
        UsageError: it contains a cell with other settings.
    """
    stored = folder / CELL
    if stored.exists():
        if _same(json.loads(stored.read_text()), call):
            return folder
        raise UsageError("contains a run with other settings", where=folder, hint="choose another --out, or remove it")
    write_json(stored, call)
    return folder


def is_finished(folder: Path) -> bool:
    """Return whether a cell has a result."""
    return (folder / RESULT).exists()


def result_of(folder: Path) -> dict[str, Any]:
    """Return the result of a finished cell."""
    loaded: dict[str, Any] = json.loads((folder / RESULT).read_text())
    return loaded


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two cells are the same run, ignoring the number of reading processes."""
    return {**one, "workers": None} == {**json.loads(json.dumps(other)), "workers": None}
