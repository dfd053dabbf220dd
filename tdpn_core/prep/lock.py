"""One preparation at a time in a folder: a courtesy, on which nothing relies.

Two would write the same bytes, whole or not at all. The lock is the system's, so a killed process leaves none behind;
where the file system knows no locks, there is none.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tdpn_core.errors import UsageError

_LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Keep a second preparation out of `folder`, which is made, and tell whether that is certain.

    Raises:
        UsageError: another one holds the lock, or `folder` cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("a+")
    except OSError as error:
        raise UsageError(f"cannot be written: {error.strerror}", where=folder, hint="choose another --out") from error
    with lock:
        alone = True
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            what = f"{_written(lock)} is preparing clips here"
            raise UsageError(what, where=folder, hint="wait for it, or stop it") from error
        except OSError:
            alone = False
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}")
        lock.flush()
        try:
            yield alone
        finally:
            lock.truncate(0)


def owner(folder: Path) -> str | None:
    """Who prepares clips in `folder` at this moment; None: nobody, as far as can be told."""
    try:
        with (folder / _LOCK).open("r") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _written(lock)
    except OSError:
        pass
    return None


def _written(lock: IO[str]) -> str:
    lock.seek(0)
    return lock.read().strip() or "another process"
