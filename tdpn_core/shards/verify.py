"""Verify that the shards on disk are bit-identical to those written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tdpn_core import files
from tdpn_core.errors import ShardError
from tdpn_core.progress import SILENT, Progress
from tdpn_core.shards.manifest import AGAIN, Manifest, Shard, load_manifest
from tdpn_core.shards.reader import open_index, read_items

_NAMED = 5  # damaged clips listed in a fault
_PIECE = 1 << 20


@dataclass(frozen=True)
class Fault:
    """A file with a fault."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file} {self.what}"


def find_faults(
    folder: Path, shards: Sequence[Shard], classes_digest: str, *, progress: Progress = SILENT
) -> list[Fault]:
    """Compare every byte of `shards` with its checksum; faults of damaged shards list the damaged clips.

    Args:
        folder: folder of the shards.
        shards: shards to verify.
        classes_digest: digest of the expected class names.
        progress: advanced for every shard.
    """
    faults = []
    progress.begin("verify", len(shards))
    try:
        for shard in shards:
            what = _fault(folder / shard.file, shard, classes_digest)
            if what is not None:
                faults.append(Fault(shard.file, what))
            progress.advance(bad=f"{len(faults)} bad")
    finally:
        progress.end()
    return faults


def unlisted(folder: Path, shards: Iterable[Shard]) -> list[Fault]:
    """Return shards in `folder` that are not in `shards`."""
    listed = {shard.file for shard in shards}
    return [Fault(path.name, "is not listed") for path in sorted(folder.glob("[!.]*.h5")) if path.name not in listed]


def verify(folder: Path) -> Manifest:
    """Verify every shard of a finished data set against the manifest.

    Raises:
        ShardError: shards are missing, damaged or unlisted; the message names them.
    """
    manifest = load_manifest(folder)
    faults = find_faults(folder, manifest.shards, manifest.classes_digest) + unlisted(folder, manifest.shards)
    if faults:
        raise ShardError("; ".join(map(str, faults)), where=folder, hint=AGAIN)
    return manifest


def _fault(path: Path, shard: Shard, classes_digest: str) -> str | None:
    try:
        size = path.stat().st_size
        if size != shard.bytes:
            return f"has {size} bytes, not {shard.bytes}"
        if files.digest_file(path) == shard.sha256:
            open_index(path, shard, classes_digest)
            return None
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except ShardError as error:
        return error.what
    return f"does not match its sha256: {_damage(path, shard, classes_digest)}"


def _damage(path: Path, shard: Shard, classes_digest: str) -> str:
    """Describe the damage of a shard of the right size."""
    try:
        damaged = _damaged_clips(path, shard, classes_digest)
    except (ShardError, OSError):
        return f"its tables are damaged, so all {shard.clips} clips"
    if not damaged:
        return "damaged outside of its clips"
    more = f" and {len(damaged) - _NAMED} more" if len(damaged) > _NAMED else ""
    return f"damaged are {', '.join(map(repr, damaged[:_NAMED]))}{more}"


def _damaged_clips(path: Path, shard: Shard, classes_digest: str) -> list[str]:
    index = open_index(path, shard, classes_digest)
    damaged = []
    with path.open("rb") as file:
        offsets = read_items(file.fileno(), index.extents, index.attributes["items_digest"], path).offsets
        for row in index.clips:
            first, count = int(row["first_item"]), int(row["items"])
            start, stop = int(offsets[first]), int(offsets[first + count])
            file.seek(index.extents["bytes"].start + start)
            checksum = hashlib.sha256()
            while start < stop and (piece := file.read(min(_PIECE, stop - start))):
                checksum.update(piece)
                start += len(piece)
            if checksum.hexdigest() != row["sha256"].decode():
                damaged.append(os.fsdecode(row["id"]))
    return damaged
