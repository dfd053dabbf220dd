"""Unpack rar archives: `rarfile` reads the list of members, an external program decompresses.

The program runs once and writes all members one after another to a pipe, in the order of the archive: it gets no names
and writes no files. `rarfile` itself would start it once per member, and does not support bsdtar
(docs/decisions/006-downloads.md).
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
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from tdpn_core.download.members import Landing, Member
from tdpn_core.errors import TdpnError, ToolError

_SILENCE = 300.0  # seconds without output after which the program counts as hung
_INSTALL = "pip install 'tdpn[download]', and install one of the programs unrar, unar, 7z or bsdtar"
_PROGRAMS = {
    "unrar": ("p", "-inul", "-p-", "--"),
    "unar": ("-quiet", "-output-directory", "-", "-password", "", "--"),
    "7z": ("e", "-so", "-bb0", "-bd", "-p", "--"),
    "7zz": ("e", "-so", "-bb0", "-bd", "-p", "--"),
    "bsdtar": ("-x", "--to-stdout", "-f"),
}


def require_rar() -> tuple[ModuleType, list[str]]:
    """Return the module rarfile and the available unpacking programs; call it before a download.

    Raises:
        ToolError: one of them is missing.
    """
    try:
        rarfile = importlib.import_module("rarfile")
    except ImportError as error:
        raise ToolError("rar archives need the package rarfile, which is not installed", hint=_INSTALL) from error
    if programs := [path for name in _PROGRAMS if (path := shutil.which(name))]:
        return rarfile, programs
    raise ToolError("rar archives need a program that unpacks them, and none is installed", hint=_INSTALL)


def unpack_rar(archive: Path, landing: Landing) -> None:
    """Unpack all of `archive`.

    Raises:
        ToolError: rarfile or a program is missing, or no program could unpack it.
        TdpnError: the archive is damaged or has a member that is refused.
    """
    rarfile, programs = require_rar()
    again = "remove it and run again to download it again"
    try:
        with rarfile.RarFile(archive, errors="strict") as reader:
            entries = reader.infolist()
            if reader.needs_password() or len(reader.volumelist()) > 1:
                raise TdpnError("is encrypted or one of several volumes, which is not supported", where=archive)
    except rarfile.Error as error:
        raise TdpnError(f"is damaged, or not a complete rar archive: {error}", where=archive, hint=again) from error
    output: _Output

    def content(entry: Any) -> Any:
        return output.member(entry.filename, entry.file_size, entry.CRC)

    members = [Member(entry.filename, entry.file_size or 0, _kind(entry), partial(content, entry)) for entry in entries]
    landing.check_all(members)
    reasons = []
    for program in programs:  # some support more variants of rar than others
        try:
            with _run(program, archive) as output:
                for member in members:
                    landing.land(member)
            return
        except _ProgramError as error:
            reasons.append(f"{Path(program).name}: {error}")
            landing.clear()
    hint = f"it may be damaged: {again}; or install unrar or unar"
    raise ToolError(f"cannot be unpacked ({'; '.join(reasons)})", where=archive, hint=hint)


class _ProgramError(Exception):
    """The program's output differs from the archive's list."""


def _kind(entry: Any) -> str:
    if entry.is_symlink() or entry.file_redir:
        return "a link"
    return "folder" if entry.is_dir() else "file" if entry.is_file() else "not a regular file"


class _Output:
    """A program's output: one member after another."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._left = 0
        self._checksum = 0

    @contextmanager
    def member(self, name: str, size: int, checksum: int | None) -> Iterator[_Output]:
        """Yield the next `size` bytes as a file, and verify its CRC-32."""
        self._left, self._checksum = size, 0
        yield self
        if checksum is not None and checksum != self._checksum:
            raise _ProgramError(f"{name[:80]!a} has checksum {self._checksum:08x}, expected {checksum:08x}")

    def read(self, size: int, /) -> bytes:
        if not self._left:
            return b""
        chunk = self.next(min(size, self._left))
        if not chunk:
            raise _ProgramError("its output ends early")
        self._left -= len(chunk)
        self._checksum = zlib.crc32(chunk, self._checksum)
        return chunk

    def next(self, size: int) -> bytes:
        """Return the program's next output; empty at its end."""
        if not select.select([self._descriptor], [], [], _SILENCE)[0]:
            raise _ProgramError(f"no output for {_SILENCE:g} s")
        return os.read(self._descriptor, size)


@contextmanager
def _run(program: str, archive: Path) -> Iterator[_Output]:
    """Run the program, which must succeed and end with the last byte that the body reads.

    It sees only a link in a separate folder: unar treats neighbours with similar names as volumes of the archive.
    """
    with tempfile.TemporaryDirectory() as alone, tempfile.TemporaryFile() as errors:
        link = Path(alone) / "archive.rar"
        link.symlink_to(archive.resolve())
        command = [program, *_PROGRAMS[Path(program).name], str(link)]
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, bufsize=0)
        with child:
            assert child.stdout is not None
            output = _Output(child.stdout.fileno())
            try:
                yield output
                if output.next(1):
                    raise _ProgramError("its output is longer than the archive's list")
                if child.wait(_SILENCE):
                    raise _ProgramError(f"exit code {child.returncode}")
            except (_ProgramError, subprocess.TimeoutExpired) as error:
                errors.seek(0)
                message = " ".join(errors.read(200).decode(errors="replace").split())
                raise _ProgramError(f"{error}; its message: {message}" if message else str(error)) from error
            finally:
                child.kill()
