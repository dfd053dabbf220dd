"""Rar archives: `rarfile` reads what is in them, an outside program decompresses, and we decide what lands where.

The program is run once and writes all members behind one another to a pipe, in the order of the archive; it is told no
name and writes no file. Each member's length and checksum are compared with the archive's list.
"""

from __future__ import annotations

import importlib
import os
import select
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from tdpn_core.download.archive import Landing, Member, shown
from tdpn_core.errors import TdpnError, ToolError

_SILENCE = 300.0  # seconds without a byte: the program hangs
_INSTALL = "pip install 'tdpn[download]', and install one of the programs unrar, unar, 7z or bsdtar"
_PROGRAMS = {
    "unrar": ("p", "-inul", "-p-", "--"),
    "unar": ("-quiet", "-output-directory", "-", "-password", "", "--"),
    "7z": ("e", "-so", "-bb0", "-bd", "-p", "--"),
    "7zz": ("e", "-so", "-bb0", "-bd", "-p", "--"),
    "bsdtar": ("-x", "--to-stdout", "-f"),
}


def require_rar() -> None:
    """Raise ToolError if a rar archive could not be unpacked here: better before than after its download."""
    _rarfile()
    _programs()


def unpack_rar(archive: Path, landing: Landing) -> None:
    """Unpack all of `archive`.

    Raises:
        ToolError: the package rarfile or a program is missing, or no program could do it.
        TdpnError: the archive is damaged or has a member that may not land.
    """
    rarfile = _rarfile()
    programs = _programs()
    try:
        with rarfile.RarFile(archive, errors="strict") as reader:
            entries = reader.infolist()
            if reader.needs_password():
                raise TdpnError("is encrypted", where=archive)
            if len(reader.volumelist()) > 1:
                raise TdpnError("is one of several volumes, which are not unpacked", where=archive)
    except rarfile.Error as error:
        hint = "remove it and run again to fetch it anew"
        raise TdpnError(f"is damaged, or no whole rar archive: {error}", where=archive, hint=hint) from error
    members = [_member(entry) for entry in entries]
    landing.check(members)
    reasons = []
    for program in programs:  # some know more kinds of rar than others
        try:
            with _output(program, archive) as output:
                for entry, member in zip(entries, members, strict=True):
                    _land(member, entry.CRC, output, landing)
            return
        except _ProgramError as error:
            reasons.append(f"{Path(program).name}: {error}")
            landing.restart()
    what = f"cannot be unpacked ({'; '.join(reasons)})"
    hint = "it may be damaged: remove it and run again to fetch it anew; or install unrar or unar"
    raise ToolError(what, where=archive, hint=hint)


class _ProgramError(Exception):
    """The program did not deliver what the archive's list promises."""


def _rarfile() -> ModuleType:
    try:
        return importlib.import_module("rarfile")
    except ImportError as error:
        raise ToolError("rar archives need the package rarfile, which is not installed", hint=_INSTALL) from error


def _programs() -> list[str]:
    found = [path for name in _PROGRAMS if (path := shutil.which(name))]
    if not found:
        raise ToolError("rar archives need a program that unpacks them, and there is none", hint=_INSTALL)
    return found


def _member(entry: Any) -> Member:
    if entry.is_symlink() or entry.file_redir:
        kind = "a link"
    elif entry.is_dir():
        kind = "folder"
    else:
        kind = "file" if entry.is_file() else "no regular file"
    return Member(entry.filename, entry.file_size or 0, kind)


def _land(member: Member, checksum: int | None, output: _Output, landing: Landing) -> None:
    if member.kind == "folder":
        landing.add(member, None)
        return
    content = _Content(output, member.size)
    landing.add(member, content)
    if checksum is not None and checksum != content.checksum:
        raise _ProgramError(f"{shown(member.name)} has checksum {content.checksum:08x}, expected {checksum:08x}")


class _Content:
    """The next `size` bytes of the output, as a file."""

    def __init__(self, output: _Output, size: int) -> None:
        self.checksum = 0
        self._output = output
        self._left = size

    def read(self, size: int, /) -> bytes:
        wanted = min(size, self._left)
        if not wanted:
            return b""
        chunk = self._output.read(wanted)
        if not chunk:
            raise _ProgramError("its output ends early")
        self._left -= len(chunk)
        self.checksum = zlib.crc32(chunk, self.checksum)
        return chunk


class _Output:
    """A program's output, which may stop but not for ever."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._descriptor = pipe.fileno()

    def read(self, size: int) -> bytes:
        if not select.select([self._descriptor], [], [], _SILENCE)[0]:
            raise _ProgramError(f"silent for {_SILENCE:g} s")
        return os.read(self._descriptor, size)


@contextmanager
def _output(program: str, archive: Path) -> Iterator[_Output]:
    """Run the program; after the body took all it needs, the program must have ended well and said no more.

    The program sees a link in a folder of its own: unar takes neighbours of similar names for volumes of the archive.
    """
    with tempfile.TemporaryDirectory() as alone, tempfile.TemporaryFile() as errors:
        link = Path(alone) / "archive.rar"
        link.symlink_to(archive.resolve())
        command = [program, *_PROGRAMS[Path(program).name], str(link)]
        try:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, bufsize=0
            )
        except OSError as error:
            raise _ProgramError(f"cannot be run: {error.strerror}") from error
        with child:
            assert child.stdout is not None
            output = _Output(child.stdout)
            try:
                yield output
                if output.read(1):
                    raise _ProgramError("its output has more than the archive lists")
                if child.wait(_SILENCE):
                    raise _ProgramError(f"exit code {child.returncode}")
            except _ProgramError as error:
                errors.seek(0)
                said = " ".join(errors.read(200).decode(errors="replace").split())
                raise _ProgramError(f"{error}; it said: {said}" if said else str(error)) from error
            except subprocess.TimeoutExpired as error:
                raise _ProgramError("does not end") from error
            finally:
                child.kill()
