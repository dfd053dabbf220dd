"""Read prepared clips: any frames of any clip, each verified against its checksum.

One interface for all packings: callers need not know whether a clip is stored as JPEGs, video or flow.
"""

from __future__ import annotations

import copy
import hashlib
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tdpn_core.errors import ShardError
from tdpn_core.shards.decode import decode_frames
from tdpn_core.shards.format import EVEN, Extent, Index, Packing, items_digest, read_index
from tdpn_core.shards.manifest import AGAIN, Manifest, Shard, load_manifest


class ClipStore:
    """The clips of one split of a prepared data set, in packing order.

    HDF5 only reads a shard's index, from verified bytes. Frames are read from the file at the offsets in the index with
    positioned reads: no locks and no open files, so a store can be pickled, inherited through a fork and shared by
    threads.
    """

    def __init__(self, folder: Path, split: str, *, manifest: Manifest | None = None) -> None:
        """Open the index of every shard of `split` and verify it against the manifest.

        Args:
            folder: folder of the prepared data set.
            split: `train`, `val` or `test`.
            manifest: manifest to use instead of the folder's own.

        Raises:
            ShardError: the data set is unfinished or has no such split, or a shard is missing, damaged or exchanged.
        """
        self.manifest: Manifest = manifest or load_manifest(folder)
        self.split = split
        shards = self.manifest.of_split(split)
        if not shards:
            has = ", ".join(self.manifest.clips()) or "no clips at all"
            raise ShardError(
                f"has no {split} clips, only {has}" if self.manifest.shards else f"has {has}", where=folder
            )
        self._paths = [folder / shard.file for shard in shards]
        indices = [
            open_index(path, shard, self.manifest.classes_digest)
            for path, shard in zip(self._paths, shards, strict=True)
        ]
        self._extents = [index.extents for index in indices]
        self._items_digests = [index.attributes["items_digest"] for index in indices]
        self._verified: set[int] = set()
        self._shard_of = np.repeat(np.arange(len(shards)), [shard.clips for shard in shards])
        self.packing: Packing = _packing(indices, folder)
        """Kind of items."""
        self._first_item = self._column(indices, "first_item").astype(np.int64)
        self._items = self._column(indices, "items").astype(np.int64)
        self._first_time = self._column(indices, "first_time")
        self._sizes = np.stack([self._column(indices, "height"), self._column(indices, "width")], axis=1)
        self._sources = [os.fsdecode(name) for name in self._column(indices, "source")]
        self.ids: list[str] = [os.fsdecode(name) for name in self._column(indices, "id")]
        self.digests: list[str] = [digest.decode() for digest in self._column(indices, "sha256")]
        """(N,) SHA-256 of each clip's items: clips with equal digests have the same pixels."""
        self.counts: NDArray[np.int64] = self._column(indices, "frames").astype(np.int64)
        """(N,) number of frames."""
        self.fps: NDArray[np.float64] = self._column(indices, "fps")
        """(N,) frames per second."""
        self.labels: dict[str, NDArray[np.int64]] = {
            head: self._column(indices, f"label_{head}").astype(np.int64) for head in self.classes
        }
        """(N,) class of each clip, by head; -1: unlabelled."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def classes(self) -> dict[str, list[str]]:
        """Class names by head, in label order."""
        return self.manifest.classes

    def subset(self, clips: Sequence[int]) -> ClipStore:
        """Return a store of the given clips, in that order; it reads the same files."""
        chosen, part = np.asarray(clips, np.int64), copy.copy(self)
        part._verified = set(self._verified)
        for name in ("_shard_of", "_first_item", "_items", "_first_time", "_sizes", "counts", "fps"):
            setattr(part, name, getattr(self, name)[chosen])
        for name in ("_sources", "ids", "digests"):
            values = getattr(self, name)
            setattr(part, name, [values[clip] for clip in chosen.tolist()])
        part.labels = {head: labels[chosen] for head, labels in self.labels.items()}
        return part

    def size(self, clip: int) -> tuple[int, int]:
        """Return (height, width) of a clip's frames in pixels."""
        height, width = self._sizes[clip].tolist()
        return height, width

    def source(self, clip: int) -> str:
        """Return the file that a clip came from, relative to the data set's root."""
        return self._sources[clip]

    def times(self, clip: int) -> NDArray[np.float64]:
        """Return the (K,) seconds of a clip's frames from its first."""
        if self._first_time[clip] == EVEN:
            even: NDArray[np.float64] = np.arange(self.counts[clip]) / self.fps[clip]
            return even
        shard = int(self._shard_of[clip])
        with self._paths[shard].open("rb") as file:
            self._verify_items(shard, file.fileno())
            first = int(self._first_time[clip])
            return read_array(
                file.fileno(), self._extents[shard]["times"], "<f8", first, first + int(self.counts[clip])
            )

    def decode(self, clip: int, frames: Sequence[int]) -> NDArray[np.uint8]:
        """Decode frames of a clip, numbered from 0, in the given order.

        Returns:
            (K, H, W, 3) RGB, or (K, H, W, 2) for optical flow, u and v as `tdpn_core.video.optical_flow` encodes them.

        Raises:
            ShardError: the shard is missing or damaged; the message names shard and clip.
            ClipError: an item cannot be decoded.
            IndexError: the clip has no such frame.
        """
        count = int(self.counts[clip])
        if any(not 0 <= frame < count for frame in frames):
            raise IndexError(f"clip {self.ids[clip]!r} has frames 0 to {count - 1}, not {list(frames)}")
        height, width = self.size(clip)
        return decode_frames(self.packing, lambda items: self.read(clip, items), frames, height, width, self.ids[clip])

    def read(self, clip: int, items: Sequence[int]) -> list[bytes]:
        """Return the bytes of items of a clip, numbered from 0: JPEGs, or the one video file.

        Raises:
            ShardError: the shard is missing or damaged; the message names shard and clip.
            IndexError: the clip has no such item.
        """
        count = int(self._items[clip])
        if any(not 0 <= item < count for item in items):
            raise IndexError(f"clip {self.ids[clip]!r} has items 0 to {count - 1}, not {list(items)}")
        shard = int(self._shard_of[clip])
        first = int(self._first_item[clip])
        extents = self._extents[shard]
        try:
            with self._paths[shard].open("rb", buffering=0) as file:
                descriptor = file.fileno()
                self._verify_items(shard, descriptor)
                offsets = read_array(descriptor, extents["offsets"], "<u8", first, first + count + 1).tolist()
                checksums = read_array(descriptor, extents["crc32"], "<u4", first, first + count).tolist()
                content = [_item(descriptor, extents["bytes"], offsets[k], offsets[k + 1]) for k in items]
        except (OSError, ValueError, OverflowError) as error:
            raise ShardError(f"cannot read clip {self.ids[clip]!r}: {error}", where=self._paths[shard]) from error
        for item, data in zip(items, content, strict=True):
            if not data or zlib.crc32(data) != checksums[item]:
                what = f"damaged: item {item} of clip {self.ids[clip]!r} does not match its checksum"
                raise ShardError(what, where=self._paths[shard], hint=AGAIN)
        return content

    def _verify_items(self, shard: int, descriptor: int) -> None:
        """Verify the table of items, once per process and shard."""
        if shard in self._verified:
            return
        read_items(descriptor, self._extents[shard], self._items_digests[shard], self._paths[shard])
        self._verified.add(shard)

    def _column(self, indices: Sequence[Index], name: str) -> NDArray[Any]:
        return np.concatenate([index.clips[name] for index in indices])


def open_index(path: Path, shard: Shard, classes_digest: str) -> Index:
    """Return the index of a shard after verifying that it is the one in the manifest.

    HDF5 reads only bytes with a matching checksum, since its reader can loop forever on damaged ones.

    Raises:
        ShardError: it is missing, damaged or exchanged, or has other classes.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ShardError(f"cannot be read: {error.strerror}", where=path) from error
    if size != shard.bytes:
        raise ShardError(f"damaged: {size} bytes, not {shard.bytes}", where=path, hint=AGAIN)
    index = read_index(path, _read_head(path, shard))
    if index.digest != shard.index_digest or len(index.clips) != shard.clips:
        raise ShardError("is not the shard that the manifest lists", where=path, hint=AGAIN)
    if index.attributes["classes_digest"] != classes_digest:
        raise ShardError("has other classes than the manifest", where=path)
    return index


def _read_head(path: Path, shard: Shard) -> bytes:
    """Read and verify the bytes of a shard before its items.

    Raises:
        ShardError: they are damaged or cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(min(max(shard.head_bytes, 0), shard.bytes))
    except OSError as error:
        raise ShardError(f"cannot be read: {error.strerror}", where=path) from error
    if hashlib.sha256(head).hexdigest() != shard.head_sha256:
        raise ShardError("damaged: its tables do not match their checksum", where=path, hint=AGAIN)
    return head


@dataclass(frozen=True)
class Items:
    """Offsets and checksums of a shard's items, as in `tdpn_core.shards.format`."""

    offsets: NDArray[np.uint64]
    crc32: NDArray[np.uint32]
    times: NDArray[np.float64]


def read_items(descriptor: int, extents: Mapping[str, Extent], digest: str, path: Path) -> Items:
    """Read and verify the table of items of an open shard.

    Raises:
        ShardError: it does not match `digest`.
    """
    kinds = (("offsets", "<u8"), ("crc32", "<u4"), ("times", "<f8"))
    tables = [read_array(descriptor, extents[name], kind, 0, extents[name].length) for name, kind in kinds]
    if items_digest(*tables) != digest:
        raise ShardError("damaged: its table of items does not match its checksum", where=path, hint=AGAIN)
    return Items(*tables)


def _packing(indices: Sequence[Index], folder: Path) -> Packing:
    found = {index.attributes["packing"] for index in indices}
    if len(found) > 1:
        raise ShardError(f"its shards are packed in different ways: {', '.join(sorted(found))}", where=folder)
    return cast(Packing, found.pop())


def _item(descriptor: int, extent: Extent, start: int, stop: int) -> bytes:
    """Return bytes `start` to `stop` of the items; empty for invalid bounds, which no checksum matches."""
    if not 0 <= start < stop <= extent.length:
        return b""
    return os.pread(descriptor, stop - start, extent.start + start)


def read_array(descriptor: int, extent: Extent, kind: str, first: int, last: int) -> NDArray[Any]:
    """Read items `first` to `last`, exclusive, of the array at `extent`."""
    item = np.dtype(kind).itemsize
    data = os.pread(descriptor, (last - first) * item, extent.start + first * item)
    return np.frombuffer(data, kind, last - first)
