"""Checks for members of untrusted archives: names, kinds, sizes and target paths.

Each file is created exclusively in a new folder that contains no links, for every archive format: see
docs/decisions/006-downloads.md.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from tdpn_core import files
from tdpn_core.errors import TdpnError
from tdpn_core.progress import ByteProgress
from tdpn_core.wording import size_text

_CHUNK = 1 << 20
_LONGEST_NAME = 1024
_LONGEST_COMPONENT = 255
_DEEPEST = 32


@dataclass(frozen=True, kw_only=True)
class ArchiveLimits:
    """Limits for unpacking an archive; the defaults allow every archive of the supported data sets."""

    max_bytes: int = 64 << 30
    """Largest total size of all members in bytes."""

    max_members: int = 200_000
    """Largest number of files and folders."""

    max_ratio: float = 100.0
    """Largest ratio of the total size to the size of the archive."""


class Readable(Protocol):
    """Content of a member."""

    def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes; empty at the end."""


class Member(NamedTuple):
    """One entry of an archive, unverified."""

    name: str
    size: int
    """Size in bytes according to the archive."""

    kind: str
    """`file`, `folder`, or another kind as text."""

    open: Callable[[], AbstractContextManager[Readable]]
    """Opens the content."""


def bad_name(name: str) -> str | None:
    """Return why a member of this name is refused, None if it is allowed."""
    components = name.split("/")
    if re.search(r"[\x00-\x1f\x7f]", name):
        return "has control characters in its name"
    if name.startswith("/") or "\\" in name or re.match("[A-Za-z]:", name):
        return "has no relative name"
    if ".." in components:
        return "leads out of the archive"
    if any(len(os.fsencode(part)) > _LONGEST_COMPONENT for part in components):
        return "has too long a name"
    if len(os.fsencode(name)) > _LONGEST_NAME or len(components) > _DEEPEST:
        return "is nested too deeply"
    return None


class Landing:
    """Writes members after checking them."""

    def __init__(self, folder: Path, archive: Path, limits: ArchiveLimits, meter: ByteProgress) -> None:
        self._folder = folder
        self._archive = archive
        self._limits = limits
        self._meter = meter
        self._packed = archive.stat().st_size
        self._members = 0
        self._declared = 0
        meter.begin(archive.name, self._packed)
        files.need_space(folder, self._packed, archive)

    def check_all(self, members: Sequence[Member]) -> None:
        """Check all members of a format that lists them, before the first one is written."""
        for member in members:
            self.check(member)
        files.need_space(self._folder, self._declared, self._archive)
        self._meter.begin(self._archive.name, self._declared)

    def check(self, member: Member) -> None:
        """Raise TdpnError unless a member is allowed."""
        self._members += 1
        self._declared += max(0, member.size)
        if reason := bad_name(member.name):
            raise self._refuse(member.name, reason)
        if member.kind not in ("file", "folder") or member.size < 0:
            raise self._refuse(member.name, "has a negative size" if member.size < 0 else f"is {member.kind}")
        limits = self._limits
        if self._members > limits.max_members:
            raise self._too_much(f"more than {limits.max_members} members")
        if self._declared > limits.max_bytes:
            raise self._too_much(f"more than {size_text(limits.max_bytes)}")
        if self._declared > limits.max_ratio * self._packed:
            raise self._too_much(f"more than {limits.max_ratio:g} bytes for each of its own")

    def land(self, member: Member) -> None:
        """Write a checked member."""
        place = self._folder / member.name
        try:
            if member.kind == "folder":
                place.mkdir(parents=True, exist_ok=True)
                return
            place.parent.mkdir(parents=True, exist_ok=True)
            with member.open() as content, place.open("xb") as sink:
                left = member.size
                while left and (chunk := content.read(min(_CHUNK, left))):
                    left -= sink.write(chunk)
                    self._meter.add(len(chunk))
                if left or content.read(1):
                    raise self._refuse(member.name, "differs in length from the archive's declaration")
                sink.flush()
                os.fsync(sink.fileno())
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise self._refuse(member.name, "has the path of another member") from error

    def clear(self) -> None:
        """Remove the written files, for another attempt."""
        shutil.rmtree(self._folder)
        self._folder.mkdir()
        self._meter.begin(self._archive.name, self._declared)

    def _refuse(self, name: str, reason: str) -> TdpnError:
        shown = ascii(name if len(name) <= 80 else name[:77] + "...")  # no terminal codes
        hint = "nothing was unpacked; download it again, and if that does not help, contact its owner"
        return TdpnError(f"member {shown} {reason}", where=self._archive, hint=hint)

    def _too_much(self, what: str) -> TdpnError:
        return TdpnError(f"unpacks to {what}", where=self._archive, hint="this is not an archive of videos; remove it")
