"""Packing clips into shards, one split after the other, so that the same clips always give the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tdpn_core import files
from tdpn_core.shards.layout import EVEN, build, clip_type
from tdpn_core.shards.manifest import Failure, Manifest, Shard


@dataclass(frozen=True)
class PackedClip:
    """A clip ready to be packed."""

    id: str
    source: str
    labels: Mapping[str, int]
    data: bytes
    """JPEG files, one after the other."""

    sizes: NDArray[np.int64]
    """(K,) bytes of each."""

    times: NDArray[np.float64] | None
    fps: float
    width: int
    height: int


@dataclass
class ShardWriter:
    """Gathers clips in memory, and writes a shard and then the manifest whenever there are enough.

    What is not yet in a listed shard when the process ends is lost, and nothing else: a shard becomes part of the
    data set with the manifest that names it.
    """

    folder: Path
    manifest: Manifest
    shard_bytes: int
    split: str = ""
    clips: list[PackedClip] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def begin(self, split: str) -> None:
        """The clips that follow are of `split`; those of another one are written."""
        if split != self.split:
            self.flush()
            self.split = split

    def add(self, clip: PackedClip) -> None:
        """Pack a clip, and write the shard if it is full."""
        self.clips.append(clip)
        if sum(len(clip.data) for clip in self.clips) >= self.shard_bytes:
            self.flush()

    def fail(self, failure: Failure) -> None:
        """Record a clip that cannot be packed."""
        self.failures.append(failure)

    def flush(self) -> None:
        """Write the clips gathered so far as a shard, and list it."""
        if self.clips:
            shard = self._write()
            self._save(replace(self.manifest, shards=[*self.manifest.shards, shard], complete=False))
            self.clips.clear()

    def finish(self) -> Manifest:
        """Write what is left, and mark the data set as complete."""
        self.flush()
        self._save(replace(self.manifest, complete=True))
        return self.manifest

    def _save(self, manifest: Manifest) -> None:
        fresh = {failure.id: failure for failure in self.failures}
        packed = {clip.id for clip in self.clips}
        old = [failure for failure in manifest.failures if failure.id not in fresh and failure.id not in packed]
        self.manifest = replace(manifest, failures=[*old, *fresh.values()])
        self.manifest.save(self.folder)
        self.failures.clear()

    def _write(self) -> Shard:
        number = len(self.manifest.of_split(self.split))
        name = f"{self.split}-{number:05d}.h5"
        sizes = np.concatenate([clip.sizes for clip in self.clips])
        uneven = [clip.times for clip in self.clips if clip.times is not None]
        times = np.concatenate(uneven) if uneven else np.empty(0)
        attributes = {
            "dataset": self.manifest.dataset,
            "split": self.split,
            "classes": json.dumps(self.manifest.classes),
            "classes_digest": self.manifest.classes_digest,
            "settings": json.dumps(self.manifest.settings, sort_keys=True),
        }
        table = clip_table(self.clips, list(self.manifest.classes))
        content, index_digest = build(table, sizes, [clip.data for clip in self.clips], times, attributes)
        files.write_bytes(self.folder / name, content)
        return Shard(name, self.split, len(content), files.digest(content), index_digest, len(self.clips), len(sizes))


def clip_table(clips: Sequence[PackedClip], heads: Sequence[str]) -> NDArray[np.void]:
    """(N,) rows of `clip_type`, one a clip."""
    ids, sources = ([os.fsencode(name) for name in names] for names in _names(clips))
    table = np.zeros(len(clips), clip_type(heads, max(map(len, ids)), max(map(len, sources))))
    counts = np.array([len(clip.sizes) for clip in clips])
    timed = np.array([0 if clip.times is None else len(clip.times) for clip in clips])
    table["id"], table["source"] = ids, sources
    table["sha256"] = [hashlib.sha256(clip.data).hexdigest() for clip in clips]
    table["first_frame"] = np.cumsum(counts) - counts
    table["frames"] = counts
    table["first_time"] = np.where(timed > 0, np.cumsum(timed) - timed, EVEN)
    for name in ("fps", "width", "height"):
        table[name] = [getattr(clip, name) for clip in clips]
    for head in heads:
        table[f"label_{head}"] = [clip.labels[head] for clip in clips]
    return table


def _names(clips: Sequence[PackedClip]) -> tuple[list[str], list[str]]:
    return [clip.id for clip in clips], [clip.source for clip in clips]
