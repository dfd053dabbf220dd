"""Write encoded clips to a shard as a stream; a shard is never entirely in memory."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdpn_core.errors import ShardError
from tdpn_core.labels import Label, to_rows
from tdpn_core.shards.format import EVEN, Packing, build, clip_type
from tdpn_core.shards.manifest import Shard, classes_digest

_PIECE = 1 << 20


@dataclass(frozen=True)
class PackedClip:
    """A clip ready to be packed."""

    id: str
    source: str
    labels: Mapping[str, Label]
    items: Path
    """File with the consecutive items."""

    sizes: NDArray[np.int64]
    """(K,) sizes in bytes."""

    crc32: NDArray[np.uint32]
    """(K,) checksums."""

    sha256: str
    """SHA-256 of all items."""

    frames: int
    times: NDArray[np.float64] | None
    """(frames,) seconds from the first frame; None if evenly spaced at `fps`."""

    fps: float
    width: int
    height: int


@dataclass(frozen=True)
class Origin:
    """Data set attributes common to all shards."""

    dataset: str
    packing: Packing
    classes: Mapping[str, Sequence[str]]
    settings: Mapping[str, Any]
    multilabel: bool = False


def write_shard(
    clips: Sequence[PackedClip],
    origin: Origin,
    split: str,
    block: int,
    part: int,
    save: Callable[[str, Iterable[bytes]], None],
) -> Shard:
    """Pack `clips` into a shard, pass its name and pieces to `save`, and return the manifest's entry.

    The name contains split, block and part, and digits of the content's digest: different content has a different
    name, so shards never replace each other.

    Raises:
        ShardError: the items of a clip do not match its sizes.
    """
    uneven = [clip.times for clip in clips if clip.times is not None]
    sizes = np.concatenate([clip.sizes for clip in clips])
    attributes = {
        "dataset": origin.dataset,
        "split": split,
        "packing": origin.packing,
        "classes": json.dumps(origin.classes),
        "classes_digest": classes_digest(origin.classes),
        "settings": json.dumps(origin.settings, sort_keys=True),
    }
    heads = {head: len(names) if origin.multilabel else None for head, names in origin.classes.items()}
    head, digest = build(
        clip_table(clips, heads),
        sizes,
        np.concatenate([clip.crc32 for clip in clips]),
        np.concatenate(uneven) if uneven else np.empty(0),
        attributes,
    )
    name = f"{split}-{block:05d}-{part:02d}-{digest[:8]}.h5"
    counted = _Counted(_content(head, clips))
    save(name, counted)
    if counted.bytes != len(head) + int(sizes.sum()):
        raise ShardError("the scratch files of its clips have changed", where=name, hint="run tdpn prep again")
    frames = sum(clip.frames for clip in clips)
    return Shard(
        file=name,
        split=split,
        bytes=counted.bytes,
        sha256=counted.sha256.hexdigest(),
        index_digest=digest,
        clips=len(clips),
        frames=frames,
        head_bytes=len(head),
        head_sha256=hashlib.sha256(head).hexdigest(),
    )


def _content(head: bytes, clips: Sequence[PackedClip]) -> Iterator[bytes]:
    yield head
    for clip in clips:
        with clip.items.open("rb") as items:
            while piece := items.read(_PIECE):
                yield piece


class _Counted:
    """Counts bytes as they pass through."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.sha256 = hashlib.sha256()
        self.bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.sha256.update(piece)
            self.bytes += len(piece)
            yield piece


def clip_table(clips: Sequence[PackedClip], heads: Mapping[str, int | None]) -> NDArray[np.void]:
    """Return (N,) rows of `clip_type`, one per clip; `heads` as there."""
    ids, sources = [os.fsencode(clip.id) for clip in clips], [os.fsencode(clip.source) for clip in clips]
    table = np.zeros(len(clips), clip_type(heads, max(map(len, ids)), max(map(len, sources))))
    items = np.array([len(clip.sizes) for clip in clips])
    timed = np.array([0 if clip.times is None else len(clip.times) for clip in clips])
    table["id"], table["source"] = ids, sources
    table["first_item"] = np.cumsum(items) - items
    table["items"] = items
    table["first_time"] = np.where(timed > 0, np.cumsum(timed) - timed, EVEN)
    for name in ("sha256", "frames", "fps", "width", "height"):
        table[name] = [getattr(clip, name) for clip in clips]
    for head, classes in heads.items():
        labels: list[Any] = [clip.labels[head] for clip in clips]
        table[f"label_{head}"] = labels if classes is None else to_rows(labels, classes)
    return table
