"""Determine what remains to do, by comparing the table of clips with the ledger."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tdpn_core.datasets import Dataset
from tdpn_core.errors import ConfigError
from tdpn_core.labels import as_label
from tdpn_core.prep.journal import BlockRecord, ClipRecord, Ledger
from tdpn_core.prep.pack_blocks import Block, ClipTask, stamp
from tdpn_core.prep.storage import Place
from tdpn_core.video.source import Source

AGAIN = "give another --out, or remove this folder to start over"


@dataclass
class Work:
    """The blocks that a run has to process."""

    dataset: Dataset
    redo: list[tuple[str, int]] = field(default_factory=list)
    """Recorded blocks with clips that failed or changed, or with a missing shard."""

    fresh: list[tuple[str, int, NDArray[np.intp]]] = field(default_factory=list)
    """(split, number, rows of the table) of blocks without a record."""

    clips: int = 0
    """Number of clips to encode, as far as known in advance."""

    gone: int = 0
    """Number of prepared clips that are no longer in the table."""

    changed: int = 0
    """Number of prepared clips whose source has changed."""

    lost: list[str] = field(default_factory=list)
    """Recorded shards that are missing."""

    def blocks(self, ledger: Ledger) -> Iterator[Block]:
        """Yield all blocks, one at a time."""
        wanted = set(self.redo)
        if wanted:
            rows = pd.Index(self.dataset.clips["id"])
            for record in ledger.blocks():
                if (record.split, record.number) in wanted:
                    yield self._again(record, rows)
        for split, number, positions in self.fresh:
            yield Block(split, number, list(self._tasks(positions)), [])

    def sample(self, count: int) -> list[Source]:
        """Return some clips of the unrecorded blocks, spread over them."""
        if not self.fresh:
            return []
        positions = np.concatenate([rows for _, _, rows in self.fresh])
        chosen = positions[np.linspace(0, len(positions) - 1, min(count, len(positions))).astype(np.intp)]
        return [task.video for task in self._tasks(chosen)]

    def _again(self, record: BlockRecord, rows: pd.Index[Any]) -> Block:
        """Return a recorded block to process again, including clips that the table no longer has.

        Clips that now belong to another split are left out.
        """
        positions = rows.get_indexer(pd.Index([clip.id for clip in record.clips]))
        lost = {shard.file for shard in record.shards} & set(self.lost)
        present = dict(zip(positions[positions >= 0], self._tasks(positions[positions >= 0]), strict=True))
        splits = self.dataset.clips["split"].to_numpy()
        tasks = []
        for position, clip in zip(positions, record.clips, strict=True):
            task = present.get(position)
            if task is not None and splits[position] != record.split:
                continue
            if task is None:
                if clip.status == "done" and clip.shard not in lost:
                    source = Source(Path(self.dataset.root, clip.source))
                    tasks.append(ClipTask(clip.id, clip.source, source, {}, clip))
                continue
            unchanged = _is_unchanged(clip, task.video.path) and clip.shard not in lost
            tasks.append(ClipTask(task.id, task.source, task.video, task.labels, clip if unchanged else None))
        return Block(record.split, record.number, tasks, record.shards)

    def _tasks(self, positions: NDArray[np.intp]) -> Iterator[ClipTask]:
        root, heads = self.dataset.root, list(self.dataset.classes)
        row: Any
        for row in self.dataset.clips.iloc[positions].itertuples(index=False):
            labels = {head: as_label(getattr(row, f"label_{head}")) for head in heads}
            video = Source(
                path=root / row.source,
                kind=row.kind,
                pattern=row.pattern,
                first=int(row.first),
                last=int(row.last),
                fps=float(row.fps),
                start=float(row.start),
                stop=float(row.stop),
            )
            yield ClipTask(row.id, row.source, video, labels)


def find_work(dataset: Dataset, ledger: Ledger, place: Place, block_clips: int, movable: Collection[str] = ()) -> Work:
    """Compare the table with the ledger.

    A new data set is cut into blocks of `block_clips` in table order. Recorded blocks keep their clips whatever is
    added to or removed from the table later; new clips get blocks of their own, as do `movable` clips whose split has
    changed.

    Raises:
        ConfigError: a recorded clip now belongs to another split.
        ShardError: a record is damaged.
    """
    work = Work(dataset)
    table = dataset.clips
    rows = pd.Index(table["id"])
    splits = table["split"].to_numpy()
    there = place.sizes("", ".h5")
    todo = np.ones(len(table), bool)
    used: dict[str, set[int]] = {}
    for record in ledger.blocks():
        used.setdefault(record.split, set()).add(record.number)
        positions = rows.get_indexer(pd.Index([clip.id for clip in record.clips]))
        pairs = zip(record.clips, positions, strict=True)
        away = {place: clip for clip, place in pairs if place >= 0 and splits[place] != record.split}
        strange = [clip.id for clip in away.values() if clip.id not in movable]
        if strange:
            what = f"{len(strange)} prepared clips, for example {strange[0]!r}, now belong to another split"
            raise ConfigError(what, hint=AGAIN)
        todo[[place for place in positions if place >= 0 and place not in away]] = False
        lost = [shard.file for shard in record.shards if there.get(shard.file) != shard.bytes]
        again = 0
        for clip, position in zip(record.clips, positions, strict=True):
            if position in away:
                continue
            work.gone += position < 0 and clip.status == "done"
            if position >= 0:
                unchanged = _is_unchanged(clip, dataset.root / str(table["source"].iat[position]))
                work.changed += clip.status == "done" and not unchanged
                again += not unchanged or clip.shard in lost
        work.lost += lost
        if again or lost or away:
            work.redo.append((record.split, record.number))
            work.clips += again
    work.fresh = list(_blocks(splits, todo, used, block_clips))
    work.clips += int(todo.sum())
    return work


def _is_unchanged(clip: ClipRecord, path: Path) -> bool:
    """Return whether the outcome of a clip is still valid for its current source."""
    return clip.stamp != "" and clip.stamp == stamp(path)


def _blocks(
    splits: NDArray[Any], todo: NDArray[np.bool_], used: dict[str, set[int]], block_clips: int
) -> Iterator[tuple[str, int, NDArray[np.intp]]]:
    """Cut the rows to process into blocks.

    Each split is numbered as if nothing were done, so that an interrupted run and the run that completes it have the
    same blocks; clips for a number already in use are new and are appended.
    """
    for split in dict.fromkeys(splits.tolist()):
        rows = np.flatnonzero(splits == split)
        taken = used.get(split, set())
        late = []
        for number, start in enumerate(range(0, len(rows), block_clips)):
            mine = rows[start : start + block_clips]
            mine = mine[todo[mine]]
            if number in taken:
                late.append(mine)
            elif len(mine):
                yield split, number, mine
        behind = np.concatenate(late) if late else np.empty(0, np.intp)
        number = max((len(rows) - 1) // block_clips, *taken, -1) + 1
        for start in range(0, len(behind), block_clips):
            yield split, number, behind[start : start + block_clips]
            number += 1
