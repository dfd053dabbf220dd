"""Cache on disk of encoded clips that are not in a shard yet, so that a killed run can reuse them."""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdpn_core.errors import TdpnError
from tdpn_core.labels import as_label
from tdpn_core.shards.writer import PackedClip

_FACTS = ("id", "source", "labels", "sha256", "frames", "fps", "width", "height")


@dataclass(frozen=True)
class ClipCache:
    """A folder of encoded clips, by block and number."""

    folder: Path
    key: str
    """What an encoded clip depends on besides its source; clips cached under another key are ignored."""

    def items(self, block: str, number: int) -> Path:
        """Return the file for the items of a clip."""
        folder = self.folder / block
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TdpnError(f"cannot be written: {error.strerror}", where=folder) from error
        return folder / f"{number}.items"

    def keep(self, block: str, number: int, clip: PackedClip, stamp: str) -> None:
        """Record that the items of a clip are complete."""
        facts = {**{name: getattr(clip, name) for name in _FACTS}, "stamp": stamp, "key": self.key}
        target = self._facts(block, number)
        temporary = target.with_suffix(".tmp")
        try:
            with temporary.open("wb") as out:
                out.write(_table(facts, clip))
            temporary.replace(target)
        except OSError as error:
            hint = "free some space or choose another --out"
            raise TdpnError(f"cannot write: {error.strerror or error}", where=target, hint=hint) from error

    def kept(self, block: str, number: int, clip: str, stamp: str) -> PackedClip | None:
        """Return a clip whose items are complete and belong to the source with `stamp`; None if it must be encoded."""
        items = self.items(block, number)
        try:
            facts, sizes, crc32, times = _read_table(self._facts(block, number).read_bytes())
            facts["labels"] = {head: as_label(label) for head, label in facts["labels"].items()}
            if (facts["id"], facts.pop("stamp"), facts.pop("key")) != (clip, stamp, self.key) or not stamp:
                return None
            with items.open("rb") as content:
                if hashlib.file_digest(content, "sha256").hexdigest() != facts["sha256"]:
                    return None
        except (OSError, ValueError, KeyError):
            return None
        return PackedClip(items=items, sizes=sizes, crc32=crc32, times=times if len(times) else None, **facts)

    def clear(self, block: str | None = None) -> None:
        """Remove the clips of a block, or of all blocks."""
        shutil.rmtree(self.folder / block if block is not None else self.folder, ignore_errors=True)

    def _facts(self, block: str, number: int) -> Path:
        return self.folder / block / f"{number}.table"


def _table(facts: dict[str, Any], clip: PackedClip) -> bytes:
    """Serialise a checksum, a line of JSON, and the clip's three arrays as in memory."""
    times = np.empty(0) if clip.times is None else clip.times
    line = json.dumps({**facts, "counts": [len(clip.sizes), len(times)]})
    arrays = [np.asarray(clip.sizes, "<i8"), np.asarray(clip.crc32, "<u4"), np.asarray(times, "<f8")]
    content = line.encode() + b"\n" + b"".join(array.tobytes() for array in arrays)
    return b"%08x\n" % zlib.crc32(content) + content


def _read_table(
    content: bytes,
) -> tuple[dict[str, Any], NDArray[np.int64], NDArray[np.uint32], NDArray[np.float64]]:
    """Return the facts, and the sizes, checksums and times.

    Raises:
        ValueError: the content is damaged.
    """
    checksum, _, content = content.partition(b"\n")
    if int(checksum, 16) != zlib.crc32(content):
        raise ValueError("a table of a clip does not match its checksum")
    line, _, arrays = content.partition(b"\n")
    facts = json.loads(line)
    items, timed = facts.pop("counts")
    sizes, crc32 = np.frombuffer(arrays, "<i8", items), np.frombuffer(arrays, "<u4", items, 8 * items)
    return facts, sizes, crc32, np.frombuffer(arrays, "<f8", timed, 12 * items)
