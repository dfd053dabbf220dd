"""Atomic file output; the only module that writes artefacts.

A file is written under a temporary name next to its destination, flushed to disk and renamed. A process killed at any
moment leaves the old file or the new one, and at worst a stray `.tmp-*` file that the next run removes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tdpn_core.errors import TdpnError
from tdpn_core.failpoints import failpoint
from tdpn_core.wording import size_text

TEMPORARY_PREFIX = ".tmp-"


def temporary_name(path: Path) -> Path:
    """Return a new name next to `path`, under which it is written; it is 18 characters longer."""
    return path.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}-{path.name}"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it is renamed to `path`, on any exception it is removed.

    Raises:
        TdpnError: the disk is full, or the folder cannot be written.
    """
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        failpoint("write.open", path.name)
        yield temporary
        failpoint("write.sync", path.name)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        failpoint("write.rename", path.name)
        temporary.replace(path)
        failpoint("write.end", path.name)
        _sync_folder(path.parent)
    except OSError as error:
        hint = "free some space or choose another --out" if error.errno == 28 else None
        raise TdpnError(f"cannot write: {error.strerror or error}", where=path, hint=hint) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def disk_error(error: Exception) -> OSError:
    """Return the operating system error that safetensors reports as text: `... (os error 28)`."""
    match = re.search(r"os error (\d+)", str(error))
    number = int(match[1]) if match else errno.EIO
    return OSError(number, os.strerror(number))


def make_folder(path: Path) -> None:
    """Create a folder and its parents unless it exists.

    Raises:
        TdpnError: it cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        hint = "choose another --out"
        raise TdpnError(f"this folder cannot be created: {error.strerror}", where=path, hint=hint) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` atomically as readable JSON; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def digest(content: bytes | memoryview) -> str:
    """Return the SHA-256 of `content` as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file's content as 64 hexadecimal digits."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def need_space(folder: Path, needed: int, where: Path) -> None:
    """Check that `needed` bytes fit on the disk of `folder`; `where` is the file to write, for the message.

    Raises:
        TdpnError: there is less free space.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        what = f"needs {size_text(needed)} more, but only {size_text(free)} are free"
        raise TdpnError(what, where=where, hint="free some space, or choose a folder on another disk")


def sweep(folder: Path) -> None:
    """Remove temporary files of killed writers in `folder`. Call it only if no other process writes there."""
    for stray in folder.glob(f"{TEMPORARY_PREFIX}*"):
        with suppress(OSError):
            stray.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
