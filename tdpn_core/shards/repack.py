"""Copy packed clips out of a shard, so that it can be packed again without decoding the videos."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np

from tdpn_core.labels import from_row
from tdpn_core.shards.format import EVEN
from tdpn_core.shards.manifest import Shard
from tdpn_core.shards.reader import open_index, read_items
from tdpn_core.shards.writer import PackedClip

_PIECE = 1 << 20


def unpack(
    path: Path, shard: Shard, classes_digest: str, wanted: Collection[str], scratch: Callable[[str], Path]
) -> Iterator[PackedClip]:
    """Copy the items of the `wanted` clips to the files that `scratch` returns; damaged clips are skipped.

    Raises:
        ShardError: the shard is missing or damaged.
    """
    index = open_index(path, shard, classes_digest)
    with path.open("rb") as file:
        table = read_items(file.fileno(), index.extents, index.attributes["items_digest"], path)
        offsets, crc32, times = table.offsets, table.crc32, table.times
        heads = [name for name in index.clips.dtype.names or () if name.startswith("label_")]
        for row in index.clips:
            name = os.fsdecode(row["id"])
            if name not in wanted:
                continue
            first, count, frames = int(row["first_item"]), int(row["items"]), int(row["frames"])
            timed = int(row["first_time"])
            start = index.extents["bytes"].start + int(offsets[first])
            length = int(offsets[first + count] - offsets[first])
            if _copied(file.fileno(), start, length, scratch(name)) != row["sha256"].decode():
                continue
            yield PackedClip(
                id=name,
                source=os.fsdecode(row["source"]),
                labels={head.removeprefix("label_"): from_row(row[head]) for head in heads},
                items=scratch(name),
                sizes=np.diff(offsets[first : first + count + 1]).astype(np.int64),
                crc32=crc32[first : first + count],
                sha256=row["sha256"].decode(),
                frames=frames,
                times=None if timed == EVEN else times[timed : timed + frames],
                fps=float(row["fps"]),
                width=int(row["width"]),
                height=int(row["height"]),
            )


def _copied(descriptor: int, start: int, length: int, target: Path) -> str:
    """Copy part of a file to `target`; returns its SHA-256."""
    checksum = hashlib.sha256()
    with target.open("wb") as out:
        while length > 0 and (piece := os.pread(descriptor, min(length, _PIECE), start)):
            out.write(piece)
            checksum.update(piece)
            start, length = start + len(piece), length - len(piece)
    return checksum.hexdigest()
