"""Clips stored as numbered JPEG or PNG pictures, in a folder or a tar archive.

Pictures are read and checked one at a time. Archives are not unpacked: a table of their members is built once and
cached, since many clips may share an archive of several gigabytes.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import tarfile
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from tdpn_core.errors import ClipError, ClipRefused, ClipTooLong
from tdpn_core.frame_names import parts_of
from tdpn_core.video.encode_options import Encoding
from tdpn_core.video.source import Source

_PICTURE_BYTES = 64 << 20  # a larger file is not a frame
_TABLES = 8  # archives whose tables are cached
_BLOCK = 512  # of a tar archive
_PNG = b"\x89PNG\r\n\x1a\n"
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")

Format = Literal["jpeg", "png"]
Reader = Callable[[str], bytes | None]


@dataclass(frozen=True)
class Picture:
    """One frame as stored."""

    number: int
    format: Format
    content: bytes
    height: int
    width: int


class Frames:
    """The frames of a clip while their folder or archive is open."""

    def __init__(self, source: Source, numbers: Sequence[int], read: Reader, note: str, max_pixels: int) -> None:
        self.source, self.numbers, self.read, self.note, self.max_pixels = source, numbers, read, note, max_pixels

    def __iter__(self) -> Iterator[Picture]:
        """Yield all frames in order, of one size and format.

        Raises:
            ClipError: a frame is missing, damaged, or differs from the first; the message names it.
        """
        first: Picture | None = None
        for number in self.numbers:
            picture = self.picture(number)
            first = first or picture
            if (picture.height, picture.width, picture.format) != (first.height, first.width, first.format):
                what = f"is {_kind(picture)} and frame {first.number} is {_kind(first)}"
                raise self._fault(number, what)
            yield picture

    def picture(self, number: int) -> Picture:
        """Return one frame; only its header is checked."""
        content = self.read(self.source.pattern % number)
        if content is None:
            what = f"frame {number} of {self.numbers[0]}..{self.numbers[-1]} is missing{self.note}"
            raise ClipError(what, where=self.source.path)
        png = content.startswith(_PNG)
        try:
            if png:
                width, height = struct.unpack_from(">II", content, 16)
            else:
                height, width, *_ = simplejpeg.decode_jpeg_header(content)
        except (ValueError, struct.error) as error:
            raise self._fault(number, "is neither a JPEG nor a PNG picture, or damaged") from error
        if width * height > self.max_pixels:
            raise ClipRefused(
                self._fault(number, f"{width}x{height} exceeds the limit of {self.max_pixels} pixels").what,
                where=self.source.path,
            )
        return Picture(number, "png" if png else "jpeg", content, height, width)

    def check(self, picture: Picture) -> None:
        """Decode a picture strictly, at an eighth of its size where that suffices."""
        if picture.format == "png":
            if not _png_is_whole(picture.content):
                raise self._fault(picture.number, "is truncated or damaged")
            return
        try:
            simplejpeg.decode_jpeg(picture.content, min_height=1, min_width=1, min_factor=8, strict=True)
        except ValueError as error:
            raise self._fault(picture.number, f"is truncated or damaged ({error})") from error

    def decode(self, picture: Picture) -> NDArray[np.uint8]:
        """Decode a JPEG picture strictly to (H, W, 3) RGB."""
        try:
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(picture.content, strict=True)
        except ValueError as error:
            raise self._fault(picture.number, f"is truncated or damaged ({error})") from error
        return pixels

    def _fault(self, number: int, what: str) -> ClipError:
        return ClipError(f"frame {number} ({self.source.pattern % number}) {what}", where=self.source.path)


@contextmanager
def open_frames(source: Source, encoding: Encoding) -> Iterator[Frames]:
    """Open the frames that `source.numbers` lists, or those from `source.first` to `source.last`.

    Raises:
        ClipError: there is no such folder or archive, or it has no such frames or too many.
    """
    opened = _open_folder(source.path) if source.kind == "frames" else _open_tar(source.path)
    with opened as (names, read, note):
        if source.numbers:
            _check_count(len(source.numbers), source, encoding)
            yield Frames(source, source.numbers, read, note, encoding.max_pixels)
            return
        first, last = source.first, source.last
        if first < 0 or last < 0:
            there = _numbers(names(), source.pattern)
            if not there:
                raise ClipError(f"no file matches {source.pattern}{note}", where=source.path)
            first, last = min(there) if first < 0 else first, max(there) if last < 0 else last
        if last < first:
            raise ClipError(f"no frames: the last, {last}, comes before the first, {first}", where=source.path)
        _check_count(last - first + 1, source, encoding)
        yield Frames(source, range(first, last + 1), read, note, encoding.max_pixels)


def _check_count(frames: int, source: Source, encoding: Encoding) -> None:
    if frames > encoding.max_frames:
        raise ClipTooLong(f"more than {encoding.max_frames} frames", where=source.path)


def _numbers(names: Iterator[str], pattern: str) -> list[int]:
    """Return the numbers in the names that match `pattern`."""
    head, tail = parts_of(pattern)
    shape = re.compile(rf"{re.escape(head)}(\d+){re.escape(tail)}")
    found = (shape.fullmatch(name) for name in names)
    return [int(match[1]) for match in found if match and pattern % int(match[1]) == match[0]]


@contextmanager
def _open_folder(path: Path) -> Iterator[tuple[Callable[[], Iterator[str]], Reader, str]]:
    if not path.is_dir():
        raise ClipError("no such folder of frames", where=path)

    def names() -> Iterator[str]:
        with os.scandir(path) as entries:
            for entry in entries:
                yield entry.name

    yield names, lambda name: _read_file(path / name), ""


def _read_file(path: Path) -> bytes | None:
    """Return a regular file's content; None if there is none. Opening does not block on pipes or devices."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ClipError(f"cannot be read: {error.strerror}", where=path) from error
    with os.fdopen(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise ClipError("not a regular file", where=path)
        if state.st_size > _PICTURE_BYTES:
            raise ClipError(f"larger than a picture can be: {state.st_size / 1e6:.0f} MB", where=path)
        try:
            return file.read()
        except OSError as error:
            raise ClipError(f"cannot be read: {error.strerror}", where=path) from error


@dataclass(frozen=True)
class _Table:
    """Positions of the regular files of an archive."""

    places: dict[str, tuple[int, int]]
    """By base name: offset and size in bytes; size -1 if two folders of the archive contain that name."""

    fault: str
    """What is wrong with the archive's end; empty if nothing."""


_tables: OrderedDict[tuple[Path, int, int], Future[_Table]] = OrderedDict()
_tables_lock = threading.Lock()


@contextmanager
def _open_tar(path: Path) -> Iterator[tuple[Callable[[], Iterator[str]], Reader, str]]:
    if not path.is_file():
        raise ClipError("not a regular file", where=path)
    table = _table(path)
    try:
        archive = path.open("rb", buffering=0)
    except OSError as error:
        raise ClipError(f"cannot be read: {error.strerror}", where=path) from error

    def read(name: str) -> bytes | None:
        place = table.places.get(name)
        if place is None:
            return None
        offset, size = place
        if size < 0:
            raise ClipError(f"holds {name} in more than one folder", where=path)
        if size > _PICTURE_BYTES:
            raise ClipError(f"{name} is larger than a picture can be: {size / 1e6:.0f} MB", where=path)
        content = os.pread(archive.fileno(), size, offset)
        if len(content) != size:
            raise ClipError(f"truncated: {name} ends beyond the end of the archive", where=path)
        return content

    with archive:
        yield lambda: iter(table.places), read, table.fault


def _table(path: Path) -> _Table:
    """Return the table of an archive; the first caller builds it while others wait."""
    try:
        state = path.stat()
    except OSError as error:
        raise ClipError(f"cannot be read: {error.strerror}", where=path) from error
    key = (path, state.st_size, state.st_mtime_ns)
    with _tables_lock:
        future = _tables.get(key)
        mine = future is None
        if future is None:
            future = _tables[key] = Future()
            while len(_tables) > _TABLES:
                _tables.popitem(last=False)
        else:
            _tables.move_to_end(key)
    if mine:
        try:
            future.set_result(_read_table(path))
        except BaseException as error:
            with _tables_lock:
                _tables.pop(key, None)
            future.set_exception(error)
    return future.result()


def _read_table(path: Path) -> _Table:
    places: dict[str, tuple[int, int]] = {}
    folders: dict[str, str] = {}  # by base name; folder names are shared strings, so this is small
    fault = ""
    try:
        with path.open("rb") as file:
            if file.read(6).startswith(_COMPRESSED):
                raise ClipError("compressed, so frames cannot be found in it; decompress it to a .tar", where=path)
            file.seek(0)
            archive = tarfile.TarFile(fileobj=file)
            try:
                while (member := archive.next()) is not None:
                    archive.members = []  # type: ignore[attr-defined]  # it would grow with the archive
                    if member.isreg() and not member.issparse():
                        folder, _, name = member.name.rpartition("/")
                        again = folders.setdefault(name, folder) != folder
                        places[name] = (member.offset_data, -1 if again else member.size)
            except tarfile.TarError as error:
                fault = f"; the archive is truncated or damaged after {len(places)} files ({error})"
            if not fault:
                file.seek(archive.offset)
                if file.read(_BLOCK).strip(b"\0"):
                    fault = f"; the archive is damaged after {len(places)} files"
    except (tarfile.TarError, EOFError) as error:
        raise ClipError(f"not a tar archive ({error})", where=path) from error
    except OSError as error:
        raise ClipError(f"cannot be read: {error.strerror}", where=path) from error
    return _Table(places, fault)


def _png_is_whole(content: bytes) -> bool:
    """Return whether every chunk is present and has its checksum."""
    at = len(_PNG)
    while at + 12 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        chunk = content[at + 4 : at + 8 + size]
        if zlib.crc32(chunk) != int.from_bytes(content[at + 8 + size : at + 12 + size], "big"):
            return False
        at += 12 + size
        if chunk[:4] == b"IEND":
            return True
    return False


def _kind(picture: Picture) -> str:
    return f"a {picture.format.upper()} of {picture.width}x{picture.height}"
