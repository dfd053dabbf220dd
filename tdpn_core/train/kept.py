"""Which states of a run are kept: `last.pt`, and those that were it before, `last-1.pt`, `last-2.pt` and so on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tdpn_core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tdpn_core.errors import CheckpointError, TdpnError
from tdpn_core.files import TEMPORARY_PREFIX, atomic_path
from tdpn_core.runs import LAST

KEEP = 2
"""States of a run that are kept: where the newest turns out damaged, the one before is there."""


def save_last(folder: Path, checkpoint: Checkpoint, *, keep: int) -> None:
    """Write `last.pt`; what it was becomes `last-1.pt`, and so on, `keep` files in all. There is one at every moment.

    Raises:
        TdpnError: the disk is full or the folder cannot be written; all that was there still is.
    """
    last = folder / LAST
    try:
        for number in range(keep - 1, 1, -1):
            if _name(folder, number - 1).exists():
                _name(folder, number - 1).replace(_name(folder, number))
        if keep > 1 and last.exists():
            _second_name(last, _name(folder, 1))
    except OSError as error:
        raise TdpnError(f"cannot write: {error.strerror or error}", where=folder) from error
    save_checkpoint(last, checkpoint)
    for surplus in folder.glob("last-*.pt"):
        if surplus.stem.partition("-")[2].isdecimal() and int(surplus.stem.partition("-")[2]) >= keep:
            surplus.unlink(missing_ok=True)


def newest_good(folder: Path, say: Callable[[str], None]) -> Path:
    """The newest state in `folder` that is whole; `say` hears what is wrong with newer ones.

    Raises:
        CheckpointError: there is none; what is wrong with the newest.
    """
    faults: list[CheckpointError] = []
    for path in states(folder):
        try:
            load_checkpoint(path)
        except CheckpointError as error:
            faults.append(error)
            continue
        for fault in faults:
            say(f"warning: {fault.where}: {fault.what}; going on from {path.name}, which is older")
        return path
    if faults:
        raise faults[0]
    raise CheckpointError("no state of a run here", where=folder, hint="start it without --resume")


def states(folder: Path) -> list[Path]:
    """The files that may hold a state of the run in `folder`, newest first."""
    older = [path for path in folder.glob("last-*.pt") if path.stem.partition("-")[2].isdecimal()]
    older.sort(key=lambda path: int(path.stem.partition("-")[2]))
    return [path for path in (folder / LAST, *older) if path.exists()]


def _name(folder: Path, number: int) -> Path:
    return folder / f"last-{number}.pt"


def _second_name(path: Path, name: Path) -> None:
    """Let `name` be the file at `path`, too; a copy where the file system knows no links."""
    if name.exists() and name.samefile(path):  # after a kill between this and the save; renaming would do nothing
        return
    temporary = name.with_name(f"{TEMPORARY_PREFIX}{name.name}")
    temporary.unlink(missing_ok=True)
    try:
        os.link(path, temporary)
    except OSError:
        with atomic_path(name) as copy:
            shutil.copyfile(path, copy)
    else:
        temporary.replace(name)
