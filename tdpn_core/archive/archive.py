"""Compute something of each of many clips: what is left to do, a process's share of it, and the table in the end."""

from __future__ import annotations

import hashlib
import uuid
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch

from tdpn_core.archive.parts import SUFFIX, Entry, PartWriter, read_entries, read_rows
from tdpn_core.archive.table import CSV, PARQUET, Column, Row, check_table, write_table
from tdpn_core.claim import claimed
from tdpn_core.errors import DatasetError
from tdpn_core.files import atomic_path, sweep
from tdpn_core.output_paths import check_new
from tdpn_core.progress import SILENT, Progress
from tdpn_core.video.inputs import Input, Inputs
from tdpn_core.wording import counted

_FAILURES = (Column("clip"), Column("reason"))
BUSY = "wait until it has finished, or choose another --archive"


class Outcome(NamedTuple):
    """What was computed of a clip."""

    rows: Iterable[Row]
    """May be computed while they are consumed. If this raises a `ClipError`, the clip failed and has no rows."""

    error: str = ""
    """Why the clip failed; its rows are those before, and one with the error."""


class Work(Protocol):
    """What is computed of each clip. Instances are hashable, and sent to other machines."""

    @property
    def columns(self) -> Sequence[Column]:
        """Columns of the table."""

    @property
    def doing(self) -> str:
        """Activity, such as `predicting`."""

    def __hash__(self) -> int:
        """Equal work has an equal hash."""

    def key(self) -> str:
        """Return a digest of the network and of all options that change a result."""

    def open(self, device: torch.device) -> Callable[[Input], Outcome]:
        """Load the network; returns what computes a clip."""


@dataclass(frozen=True)
class ArchiveFiles:
    """Files of an archive: the table, and next to it the clips that failed and the results so far."""

    table: Path

    @classmethod
    def at(cls, path: Path, table: str) -> ArchiveFiles:
        """Return the files for a table `path`, or for a folder with the default name of its table."""
        return cls(path if path.suffix in (CSV, PARQUET) else path / table)

    @property
    def failures(self) -> Path:
        """CSV with the clips that failed and the reasons."""
        return self.table.with_name(f"{self.table.stem}-failed.csv")

    @property
    def parts(self) -> Path:
        """Folder of the results so far; tables of both formats share it."""
        return self.table.with_name(f"{self.table.stem}-parts")

    def check(self) -> None:
        """
        Raises:
            UsageError: the files cannot be written.
            ToolError: the table is a Parquet file, and pyarrow is not installed.
        """
        check_table(self.table, option="--archive")
        check_new([self.table, self.failures, self.parts / f"part{SUFFIX}"], option="--archive", force=True)


@dataclass(frozen=True, kw_only=True)
class ArchiveResult:
    """The tables of an archive."""

    clips: int
    failed: int
    lacking: int
    """Clips without a result, since a process was stopped."""

    table: Path
    failures: Path
    """CSV with the clips that failed and the reasons."""


class Pending(NamedTuple):
    """A clip without a result, or whose file has changed."""

    clip: Input
    stamp: str


class Todo:
    """The clips that a process must compute: every `world`-th from `rank`, unless it has a result.

    A clip has a result of the same key unless it failed or its file has changed. Memory is a number for each clip.
    """

    def __init__(
        self,
        clips: Inputs,
        files: ArchiveFiles,
        key: str,
        *,
        rank: int = 0,
        world: int = 1,
        progress: Progress = SILENT,
    ) -> None:
        done = {_digest(entry.clip, entry.stamp) for _, entry in _entries(files, key) if not entry.error}
        if done and rank == 0:
            progress.say(f"{files.parts}: {counted(len(done), 'clip has', 'clips have')} a result already")
        own = islice(_positions(clips).values(), rank, None, world)
        self._clips = clips
        self._positions = array("L", (position for position in own if self._digest(position) not in done))

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[Pending]:
        for position in self._positions:
            clip = self._clips[position]
            yield Pending(clip, _stamp(clip))

    def _digest(self, position: int) -> bytes:
        clip = self._clips[position]
        return _digest(clip.name, _stamp(clip))


def _positions(clips: Inputs) -> dict[str, int]:
    """Return the place of each clip by its name; of one that is named twice, the first."""
    positions: dict[str, int] = {}
    for position, name in enumerate(clips.names):
        positions.setdefault(name, position)
    return positions


def _digest(name: str, stamp: str) -> bytes:
    return hashlib.blake2b(f"{stamp} {name}".encode(errors="surrogatepass"), digest_size=16).digest()


def _stamp(clip: Input) -> str:
    """Return size and modification time of a clip's file; empty if it is no file."""
    try:
        state = None if clip.source is None else clip.source.path.stat()
    except (OSError, ValueError):
        return ""
    return "" if state is None else f"{state.st_size}-{state.st_mtime_ns}"


def compute_share(
    work: Work,
    clips: Inputs,
    files: ArchiveFiles,
    device: torch.device,
    *,
    rank: int = 0,
    world: int = 1,
    progress: Progress = SILENT,
) -> int:
    """Compute the clips of one process, and save the results while it goes on.

    Args:
        work: what is computed.
        clips: those of all processes.
        files: where results are saved.
        device: of the network.
        rank: number of the process.
        world: number of processes.
        progress: receives notes and the number of clips.

    Returns:
        The number of clips that were computed.

    Raises:
        InUseError: another command computes this archive.
        TdpnError: the disk is full, or the network cannot be used.
    """
    if rank == 0:
        with claimed(files.parts, work.doing, hint=BUSY, option="--archive"):
            return _compute_share(work, clips, files, device, rank, world, progress)
    return _compute_share(work, clips, files, device, rank, world, progress)


def _compute_share(
    work: Work,
    clips: Inputs,
    files: ArchiveFiles,
    device: torch.device,
    rank: int,
    world: int,
    progress: Progress,
) -> int:
    key = work.key()
    todo = Todo(clips, files, key, rank=rank, world=world, progress=progress)
    if len(todo):
        progress.begin("clips", len(todo))
        try:
            save(todo, work.open(device), work.columns, files.parts, key, progress)
        finally:
            progress.end()
    return len(todo)


def save(
    todo: Todo | Sequence[Pending],
    compute: Callable[[Input], Outcome],
    columns: Sequence[Column],
    folder: Path,
    key: str,
    progress: Progress = SILENT,
) -> None:
    """Compute clips and save their results in files of `folder`; what is complete is saved whatever ends the work."""
    left = iter(todo)
    count = 0
    while count < len(todo):
        with atomic_path(folder / f"{uuid.uuid4().hex}{SUFFIX}") as temporary, temporary.open("wb") as file:
            part = PartWriter(file, key, columns)
            error = _fill(part, left, compute, progress)
            if error is not None and not part.entries:
                raise error
            part.close()
        if error is not None:
            raise error
        count += len(part.entries)


def _fill(
    part: PartWriter, left: Iterator[Pending], compute: Callable[[Input], Outcome], progress: Progress
) -> BaseException | None:
    """Compute clips until the part is full; returns what ended the work early, such as a signal or a full disk."""
    try:
        for clip, stamp in left:
            outcome = compute(clip)
            part.add(clip.name, stamp, outcome.rows, outcome.error)
            progress.advance()
            if part.full:
                break
    except BaseException as failure:
        part.take_back()
        return failure
    return None


def join_archive(work: Work, clips: Inputs, files: ArchiveFiles) -> ArchiveResult:
    """Write the results of all processes as one table in the order of the clips, and one of the clips that failed.

    Memory grows with the names of the clips only.

    Raises:
        DatasetError: there is no result.
        InUseError: another command computes this archive.
    """
    with claimed(files.parts, work.doing, hint=BUSY, option="--archive"):
        return _joined(work, clips, files)


def _joined(work: Work, clips: Inputs, files: ArchiveFiles) -> ArchiveResult:
    positions = _positions(clips)
    paths: list[Path] = []
    places = np.full((len(clips), 3), -1)  # of the result of each clip: number of the file, offset, rows
    errors: dict[int, str] = {}
    for path, entry in _entries(files, work.key()):
        position = positions.get(entry.clip)
        if position is None or _stamp(clips[position]) != entry.stamp:
            continue  # of another archive, or of a file that has changed
        if places[position, 0] >= 0 and position not in errors:
            continue
        if not paths or paths[-1] != path:
            paths.append(path)
        places[position] = len(paths) - 1, entry.offset, entry.rows
        errors.pop(position, None)
        if entry.error:
            errors[position] = entry.error
    done = np.flatnonzero(places[:, 0] >= 0).tolist()
    if not done:
        what = "has no result of these clips and this network"
        raise DatasetError(what, where=files.parts, hint="run the command again")

    def rows() -> Iterator[Row]:
        for position in done:
            number, offset, count = places[position].tolist()
            yield from read_rows(paths[number], offset, count, work.columns)

    write_table(files.table, work.columns, rows())
    write_table(files.failures, _FAILURES, ((clips[number].name, errors[number]) for number in sorted(errors)))
    if len(done) == len(positions):  # so that no other process is at it
        sweep(files.parts)
    return ArchiveResult(
        clips=len(positions),
        failed=len(errors),
        lacking=len(positions) - len(done),
        table=files.table,
        failures=files.failures,
    )


def _entries(files: ArchiveFiles, key: str) -> Iterator[tuple[Path, Entry]]:
    for path in sorted(files.parts.glob(f"*{SUFFIX}")):
        for entry in read_entries(path, key):
            yield path, entry
