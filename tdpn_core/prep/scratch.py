"""Clips that are encoded and not yet in a shard: on disk, so that a killed run finds them again."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from tdpn_core.errors import TdpnError
from tdpn_core.shards.write import PackedClip

_FACTS = ("id", "source", "labels", "sha256", "frames", "fps", "width", "height")


@dataclass(frozen=True)
class Scratch:
    """A folder of encoded clips, by block and number."""

    folder: Path
    key: str
    """What the bytes of a clip depend on besides its source; clips that were kept under another key do not count."""

    def items(self, block: str, number: int) -> Path:
        """The file for the items of a clip."""
        folder = self.folder / block
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TdpnError(f"cannot be written: {error.strerror}", where=folder) from error
        return folder / f"{number}.items"

    def keep(self, block: str, number: int, clip: PackedClip, stamp: str) -> None:
        """Note that the items of a clip are whole."""
        facts = {**{name: getattr(clip, name) for name in _FACTS}, "stamp": stamp, "key": self.key}
        target = self._facts(block, number)
        temporary = target.with_suffix(".tmp")
        try:
            with temporary.open("wb") as out:
                times = np.empty(0) if clip.times is None else clip.times
                np.savez(out, sizes=clip.sizes, crc32=clip.crc32, times=times, facts=np.array(json.dumps(facts)))
            temporary.replace(target)
        except OSError as error:
            hint = "free some space or choose another --out"
            raise TdpnError(f"cannot write: {error.strerror or error}", where=target, hint=hint) from error

    def kept(self, block: str, number: int, clip: str, stamp: str) -> PackedClip | None:
        """A clip whose items are whole and of the source as `stamp` tells it; None: it is to be encoded."""
        items = self.items(block, number)
        try:
            with np.load(self._facts(block, number), allow_pickle=False) as stored:
                facts = json.loads(str(stored["facts"]))
                sizes, crc32, times = stored["sizes"], stored["crc32"], stored["times"]
            if (facts["id"], facts.pop("stamp"), facts.pop("key")) != (clip, stamp, self.key) or not stamp:
                return None
            with items.open("rb") as content:
                if hashlib.file_digest(content, "sha256").hexdigest() != facts["sha256"]:
                    return None
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return None
        return PackedClip(items=items, sizes=sizes, crc32=crc32, times=times if len(times) else None, **facts)

    def clear(self, block: str | None = None) -> None:
        """Forget a block, or all of them."""
        shutil.rmtree(self.folder / block if block is not None else self.folder, ignore_errors=True)

    def _facts(self, block: str, number: int) -> Path:
        return self.folder / block / f"{number}.npz"
