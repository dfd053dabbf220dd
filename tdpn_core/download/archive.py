"""Unpack untrusted archives: only regular files with plain relative names, within limits, all or none of them.

`tarfile`, `zipfile` and `rarfile` parse the formats; `members` decides for all three what is written, and where.
"""

from __future__ import annotations

import errno
import gzip
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO

from tdpn_core import files
from tdpn_core.download.members import ArchiveLimits, Landing, Member
from tdpn_core.errors import TdpnError
from tdpn_core.progress import SILENT, ByteProgress, Progress

_LARGEST_HEADER = 1 << 20  # extended names and attributes of tar, which tarfile reads into memory
_EXTENDED = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
_LARGEST_PADDING = 16 << 20
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, struct.error, EOFError),
    *(ValueError, RuntimeError, ArithmeticError, LookupError),
)


def extract(
    archive: Path, folder: Path, *, limits: ArchiveLimits | None = None, progress: Progress = SILENT
) -> list[Path]:
    """Unpack a tar (plain or gzip), zip or rar archive into the new folder `folder`, unless it exists already.

    The format is detected from the content, not the name. Modes, owners and times in the archive are not applied.
    `folder` appears once everything is checked and written; before, it is a hidden folder next to it.

    Returns:
        The files in `folder`, sorted.

    Raises:
        TdpnError: the archive is damaged, has a member that is not a regular file or has an unsafe path, exceeds
            the limits, or does not fit on the disk.
        ToolError: it is a rar archive, and there is no program to unpack it.
    """
    if folder.is_symlink() or not folder.is_dir():
        unfinished = folder.with_name(f"{files.TEMPORARY_PREFIX}{folder.name}")
        try:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            with archive.open("rb") as source, _damage_named(archive), ByteProgress(progress) as meter:
                _unpack(source, archive, Landing(unfinished, archive, limits or ArchiveLimits(), meter))
            unfinished.replace(folder)
        except OSError as error:
            hint = "free some space, or choose a folder on another disk" if error.errno == errno.ENOSPC else None
            raise TdpnError(f"cannot be unpacked: {error.strerror or error}", where=archive, hint=hint) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def merge(source: Path, target: Path) -> int:
    """Move the files of the folder `source` to the same paths below `target`, and remove `source`.

    Existing files are replaced. After a kill at any time it can be repeated. Both folders must be on one disk.

    Returns:
        The number of files moved.

    Raises:
        TdpnError: a link, or a folder instead of a file or the reverse, is in the way.
    """
    count = 0
    make_plain_folder(target)
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if entry.is_dir():
            count += merge(entry, place)
        elif place.is_symlink() or place.is_dir():
            raise TdpnError("is not a regular file and is in the way of one", where=place, hint="remove it")
        else:
            entry.replace(place)
            count += 1
    source.rmdir()
    return count


def make_plain_folder(folder: Path) -> None:
    """Create a folder unless it exists; raise TdpnError if it is a link or a file."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        what = "is a link or a file where a folder is needed"
        raise TdpnError(what, where=folder, hint="give the real folder as --root, or remove it")
    files.make_folder(folder)


def _unpack(source: BinaryIO, archive: Path, landing: Landing) -> None:
    start = source.read(8)
    source.seek(0)
    if start.startswith(b"Rar!\x1a\x07"):
        from tdpn_core.download.rar import unpack_rar  # needs an additional package and program

        unpack_rar(archive, landing)
    elif start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        with zipfile.ZipFile(source) as reader:
            members = [_zip_member(reader, entry) for entry in reader.infolist()]
            landing.check_all(members)
            for member in members:
                landing.land(member)
    elif start.startswith(b"\x1f\x8b"):
        with gzip.GzipFile(fileobj=source) as plain:
            _unpack_tar(plain, landing)
    else:
        _unpack_tar(source, landing)


@contextmanager
def _damage_named(archive: Path) -> Iterator[None]:
    """Convert the readers' exceptions on damaged input to one error."""
    try:
        yield
    except _DAMAGE as error:
        what = f"is damaged, or not a tar, zip or rar archive: {str(error) or type(error).__name__}"
        raise TdpnError(what, where=archive, hint="remove it and run again to download it again") from error


def _zip_member(reader: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Member:
    mode = stat.S_IFMT(entry.external_attr >> 16)
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        kind = "a symbolic link" if mode == stat.S_IFLNK else "not a regular file"
    else:
        kind = "folder" if entry.is_dir() else "file"
    # `filename` ends at the first NUL
    return Member(entry.orig_filename, entry.file_size, kind, partial(reader.open, entry))


class _Header(tarfile.TarInfo):
    """A tar header that must be intact: tarfile treats a damaged one as the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        if len(buf) == tarfile.BLOCKSIZE and not any(buf):
            return super().frombuf(buf, encoding, errors)  # the end mark
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} in place of a header") from error
        if header.size < 0 or (header.size > _LARGEST_HEADER and header.type in _EXTENDED):
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        return header


def _content(reader: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    content = reader.extractfile(entry)
    assert content is not None
    return content


def _unpack_tar(source: IO[bytes] | gzip.GzipFile, landing: Landing) -> None:
    with tarfile.open(fileobj=source, mode="r|", tarinfo=_Header) as reader:
        for entry in reader:
            kinds = {tarfile.DIRTYPE: "folder", tarfile.SYMTYPE: "a symbolic link", tarfile.LNKTYPE: "a hard link"}
            kind = "file" if entry.isreg() and not entry.issparse() else kinds.get(entry.type, "not a regular file")
            member = Member(entry.name, entry.size, kind, partial(_content, reader, entry))
            landing.check(member)
            landing.land(member)
    if source.read(_LARGEST_PADDING).strip(b"\0"):  # read to the end, so that gzip verifies its checksum
        raise tarfile.ReadError("data follow its end mark")
    if source.read(1):
        raise tarfile.ReadError("its padding has no end")
