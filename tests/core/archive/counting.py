"""Work for archives that costs nothing, in a module for other processes too. As a program: the share of a process."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from tdpn_core.archive import ArchiveFiles, Outcome, parts
from tdpn_core.archive.archive import compute_share
from tdpn_core.archive.table import Column
from tdpn_core.errors import ClipError
from tdpn_core.video.inputs import Input, find_inputs


@dataclass(frozen=True)
class Count:
    """Three rows for each file; a clip that is not empty fails after the first."""

    notes: Path
    """File that gets the name of each clip that is computed."""

    waits: str = ""
    """Name of a clip that, the first time, waits for a kill."""

    columns: ClassVar[Sequence[Column]] = (Column("clip"), Column("row", "number"))
    doing: ClassVar[str] = "counting"

    def key(self) -> str:
        return "count"

    def open(self, device: torch.device) -> Callable[[Input], Outcome]:
        return lambda clip: Outcome(self._rows(clip))

    def _rows(self, clip: Input):
        assert clip.source is not None
        path, started = clip.source.path, started_by(self.notes)
        if path.name == self.waits and not started.exists():
            started.write_text(_node())
            time.sleep(60)
        with self.notes.open("a") as notes:
            notes.write(f"{clip.name}\n")
        for row in range(3):
            yield clip.name, row
            if path.stat().st_size:
                raise ClipError("is not empty", where=clip.name)


def started_by(notes: Path) -> Path:
    """The file that a waiting clip writes, with the node of a Ray cluster that it is on."""
    return notes.with_suffix(".started")


def _node() -> str:
    ray = sys.modules.get("ray")
    return ray.get_runtime_context().get_node_id() if ray and ray.is_initialized() else "here"


if __name__ == "__main__":
    folder, table, notes, waits, rank, world = sys.argv[1:]
    parts._SAVE_EVERY_CLIPS = 7
    share = {"rank": int(rank), "world": int(world)}
    compute_share(
        Count(Path(notes), waits), find_inputs([folder]), ArchiveFiles(Path(table)), torch.device("cpu"), **share
    )
