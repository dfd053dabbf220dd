"""Unpack archives of strangers: regular files and folders of plain names, within limits, whole or not at all.

`tarfile`, `zipfile` and `rarfile` only read the formats here. What a member may be called, what it may be and where it
lands is decided in this file, because tarfile's own filter can be bypassed in Python before 3.11.13 (CVE-2025-4517).
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from tdpn_core import files
from tdpn_core.download.http import Meter, in_gigabytes, need_space
from tdpn_core.errors import TdpnError
from tdpn_core.progress import SILENT, Progress

_CHUNK = 1 << 20
_BLOCK = 512  # of tar
_LONGEST_COMPONENT = 255
_LONGEST_NAME = 1024
_DEEPEST = 32
_LARGEST_PADDING = 16 << 20
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, struct.error),
    *(EOFError, ValueError, RuntimeError, ArithmeticError, LookupError),
)


@dataclass(frozen=True, kw_only=True)
class ArchiveLimits:
    """What an archive may grow to; the defaults hold any single archive of the data sets known here."""

    max_bytes: int = 64 << 30
    """Of all members together."""

    max_members: int = 200_000
    """Files and folders."""

    max_ratio: float = 100.0
    """Bytes of all members for each byte of the archive."""


class Readable(Protocol):
    """What a member's content, or an archive, is asked for."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


@dataclass(frozen=True)
class Extraction:
    """An archive that was unpacked."""

    folder: Path
    files: int
    bytes: int


@dataclass(frozen=True)
class Member:
    """One entry of an archive, before it is trusted."""

    name: str
    """As the archive spells it."""

    size: int
    """Bytes, as the archive declares them."""

    kind: str
    """`file`, `folder`, or what else it is, in words."""


def extract(
    archive: Path, folder: Path, *, limits: ArchiveLimits | None = None, progress: Progress = SILENT
) -> Extraction:
    """Unpack a tar (plain or gzip), zip or rar archive into the new folder `folder`; do nothing if it is there.

    The format is told by content, not by name. Files get mode 0644 (less the umask), folders 0755; owners, times,
    links and special bits of the archive are ignored or refused. `folder` appears when all of the archive was checked
    and lies on the disk; before, it is a hidden folder beside it that any failure removes.

    Raises:
        TdpnError: the archive is damaged, has a member that could land elsewhere or is no regular file, exceeds the
            limits, or does not fit the disk.
        ToolError: a rar archive, and no program that unpacks it.
    """
    if folder.is_dir() and not folder.is_symlink():
        return _measure(folder)
    bounds = limits or ArchiveLimits()
    partial = folder.with_name(f"{files.TEMPORARY_PREFIX}{folder.name}")
    meter = Meter(progress, archive.name)
    try:
        _remove(partial)
        partial.mkdir(parents=True)
        with archive.open("rb") as source, _named_damage(archive):
            packed = archive.stat().st_size
            need_space(partial, packed, archive)
            landing = Landing(partial, archive, bounds, meter)
            meter.begin(packed)
            _unpack(source, archive, landing)
        partial.replace(folder)
        return Extraction(folder, landing.files, landing.bytes)
    except OSError as error:
        hint = "free some space, or choose a root on another disk" if error.errno == 28 else None
        raise TdpnError(f"cannot be unpacked: {error.strerror or error}", where=archive, hint=hint) from error
    finally:
        meter.end()
        _remove(partial)


def merge(source: Path, target: Path) -> int:
    """Move the files of the folder `source` into `target`, below it at the same places, and remove `source`.

    A file that is there is replaced; can be repeated after a kill at any moment. Both lie on one disk.

    Returns:
        The number of files moved.

    Raises:
        TdpnError: a link, or a folder in place of a file or the reverse, stands in the way.
    """
    count = 0
    try:
        plain_folder(target)
        for entry in sorted(source.iterdir()):
            place = target / entry.name
            if entry.is_dir():
                count += merge(entry, place)
            elif place.is_symlink() or (place.exists() and not place.is_file()):
                raise TdpnError("is no regular file and stands in the way", where=place, hint="remove it")
            else:
                entry.replace(place)
                count += 1
        source.rmdir()
    except OSError as error:
        raise TdpnError(f"cannot be written: {error.strerror or error}", where=target) from error
    return count


def plain_folder(target: Path) -> None:
    """Make the folder, or raise TdpnError if a link or a file is in its place."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        what = "is a link or a file where a folder is needed"
        raise TdpnError(what, where=target, hint="give the real folder as --root, or remove it")
    target.mkdir(parents=True, exist_ok=True)


class Landing:
    """Where members land, after every check."""

    def __init__(self, folder: Path, archive: Path, limits: ArchiveLimits, meter: Meter) -> None:
        self.files = 0
        self.bytes = 0
        self._folder = folder
        self._archive = archive
        self._limits = limits
        self._meter = meter
        self._packed = archive.stat().st_size
        self._seen: dict[str, tuple[str, bool]] = {}
        self._members = 0
        self._declared = 0

    def check(self, members: Iterable[Member]) -> None:
        """Everything that can be known of a format whose list of members stands alone, before the first byte."""
        trial = Landing(self._folder, self._archive, self._limits, self._meter)
        for member in members:
            trial.admit(member)
        need_space(self._folder, trial._declared, self._archive)

    def admit(self, member: Member) -> Path | None:
        """The place of a member below the folder; None for the folder itself.

        Raises:
            TdpnError: it may not land.
        """
        self._members += 1
        self._declared += max(0, member.size)
        self._within_limits()
        parts = self._parts(member)
        if member.kind not in ("file", "folder") or member.size < 0:
            raise self.refuse(member.name, f"is {member.kind}" if member.size >= 0 else "has a negative size")
        if not parts and member.kind == "file":
            raise self.refuse(member.name, "has no name")
        for depth in range(1, len(parts) + 1):
            self._enter(member, parts[:depth], folder=depth < len(parts) or member.kind == "folder")
        return self._folder.joinpath(*parts) if parts else None

    def add(self, member: Member, content: Readable | None) -> None:
        """Check a member and write it."""
        place = self.admit(member)
        if member.kind == "folder":
            if place:
                place.mkdir(parents=True, exist_ok=True)
            return
        assert place is not None
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o644)
        with os.fdopen(descriptor, "wb") as sink:
            left = member.size
            while left and content is not None:
                chunk = content.read(min(_CHUNK, left))
                if not chunk:
                    break
                sink.write(chunk)
                left -= len(chunk)
                self.bytes += len(chunk)
                self._meter.add(len(chunk))
            if left or (content is not None and content.read(1)):
                raise self.refuse(member.name, "is not as long as the archive declares")
            sink.flush()
            os.fsync(sink.fileno())
        self.files += 1

    def restart(self) -> None:
        """Remove what has landed, for another attempt."""
        _remove(self._folder)
        self._folder.mkdir()
        self._seen.clear()
        self.files = self.bytes = self._members = self._declared = 0

    def refuse(self, name: str, why: str) -> TdpnError:
        """The error that ends all."""
        hint = "nothing of it was unpacked; fetch it anew, and if it stays so, tell its owner"
        return TdpnError(f"member {shown(name)} {why}", where=self._archive, hint=hint)

    def _within_limits(self) -> None:
        limits = self._limits
        if self._members > limits.max_members:
            raise self._too_much(f"more than {limits.max_members} members")
        if self._declared > limits.max_bytes:
            raise self._too_much(f"more than {in_gigabytes(limits.max_bytes)}")
        if self._declared > limits.max_ratio * self._packed:
            raise self._too_much(f"more than {limits.max_ratio:g} bytes for each of its own")

    def _too_much(self, what: str) -> TdpnError:
        return TdpnError(f"unpacks to {what}", where=self._archive, hint="this is no archive of videos; remove it")

    def _parts(self, member: Member) -> list[str]:
        """The folders and the name, or an error."""
        name = member.name
        if reason := bad_name(name):
            raise self.refuse(name, reason)
        return [part for part in name.split("/") if part not in ("", ".")]

    def _enter(self, member: Member, parts: list[str], *, folder: bool) -> None:
        """Note a name; two that are one on some file system are refused on all."""
        exact = "/".join(parts)
        key = unicodedata.normalize("NFC", exact).casefold()
        if key not in self._seen:
            self._seen[key] = (exact, folder)
            return
        before, was_folder = self._seen[key]
        if before != exact:
            raise self.refuse(member.name, f"differs from {shown(before)} by case only")
        if was_folder != folder:
            raise self.refuse(member.name, "is a file and a folder")
        if not folder:
            raise self.refuse(member.name, "is there twice")


def shown(name: str) -> str:
    """A foreign name for a message: short, and without what a terminal would obey."""
    return ascii(name if len(name) <= 80 else name[:77] + "...")


def bad_name(name: str) -> str | None:
    """Why a member of this name may not land, if so."""
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
        return "lies too deep"
    return None


def _unpack(source: BinaryIO, archive: Path, landing: Landing) -> None:
    start = source.read(8)
    source.seek(0)
    if start.startswith(b"Rar!\x1a\x07"):
        from tdpn_core.download.rar import unpack_rar  # needs a package and a program that the others do not

        unpack_rar(archive, landing)
    elif start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        _unpack_zip(source, landing)
    elif start.startswith(b"\x1f\x8b"):
        with gzip.GzipFile(fileobj=source) as plain:
            _unpack_tar(plain, archive, landing)
    else:
        _unpack_tar(source, archive, landing)


@contextmanager
def _named_damage(archive: Path) -> Iterator[None]:
    """The readers' many exceptions on damaged input as one."""
    try:
        yield
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        what = f"is damaged, or no tar, zip or rar archive: {reason}"
        raise TdpnError(what, where=archive, hint="remove it and run again to fetch it anew") from error


def _unpack_zip(source: BinaryIO, landing: Landing) -> None:
    with zipfile.ZipFile(source) as archive:
        entries = archive.infolist()
        members = [_zip_member(entry) for entry in entries]
        landing.check(members)
        for entry, member in zip(entries, members, strict=True):
            if member.kind == "folder":
                landing.add(member, None)
            else:
                with archive.open(entry) as content:
                    landing.add(member, content)


def _zip_member(entry: zipfile.ZipInfo) -> Member:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if entry.flag_bits & 1:
        word = "encrypted"
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        word = "a symbolic link" if kind == stat.S_IFLNK else "no regular file"
    else:
        word = "folder" if entry.is_dir() else "file"
    return Member(entry.orig_filename, entry.file_size, word)  # filename is cut at the first NUL


_TAR_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.DIRTYPE: "folder",
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
}


def _unpack_tar(source: Readable, archive: Path, landing: Landing) -> None:
    stream = _Forward(source)
    with tarfile.open(fileobj=stream, mode="r:") as reader:  # type: ignore[call-overload]
        while (entry := reader.next()) is not None:
            reader.members = []
            kind = "a sparse file" if entry.issparse() else _TAR_KINDS.get(entry.type, "of an unknown kind")
            landing.add(Member(entry.name, entry.size, kind), reader.extractfile(entry) if kind == "file" else None)
    # tarfile takes a damaged header, or the end of the file, for the end of the archive
    if stream.last != bytes(_BLOCK):
        raise tarfile.ReadError("it ends before its end mark")
    stream.finish()


class _Forward:
    """A file that is read from its start to its end, in pieces of bounded size, for tarfile."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._position = 0
        self.last = b""

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        if position < self._position:
            raise tarfile.ReadError("a member leads back into the archive")
        while self._position < position and self.read(min(_CHUNK, position - self._position)):
            pass
        return self._position

    def read(self, size: int) -> bytes:
        if not (0 <= size <= _CHUNK):
            raise tarfile.ReadError(f"a header of {size} bytes")
        self.last = self._source.read(size)
        self._position += len(self.last)
        return self.last

    def finish(self) -> None:
        """Read the padding behind the end mark, so that a compressed stream compares its checksum."""
        for _ in range(_LARGEST_PADDING // _CHUNK):
            if not self.read(_CHUNK):
                return
            if self.last.strip(b"\0"):
                raise tarfile.ReadError("data follow its end mark")
        raise tarfile.ReadError("its padding has no end")


def _measure(folder: Path) -> Extraction:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return Extraction(folder, len(sizes), sum(sizes))


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
