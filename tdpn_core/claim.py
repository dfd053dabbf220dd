"""Claims: one process at a time uses a folder or file; another one is refused with a message that names the first.

A claim is an operating system lock on a small file, so a killed process leaves no claim behind, and the file contains
the holder. On file systems without locks there are no claims, and `claimed` yields False.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tdpn_core.errors import InUseError, UsageError

LOCK = ".lock"
"""Name of the lock file in a claimed folder."""

_PATIENCE_SECONDS = 0.5
"""Longer than another process needs to inspect a lock, or to write its name into a lock it has just taken."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that holds a claim."""

    pid: int
    host: str
    since: str
    """Local time when it started, `2026-01-31 12:30:05`."""

    doing: str
    """Its activity, such as `training`."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} has been {self.doing} here since {self.since}"


@contextmanager
def claimed(path: Path, doing: str, *, hint: str, option: str = "--out", file: bool = False) -> Iterator[bool]:
    """Hold the claim on a folder, or with `file` on a file to be written; yields whether the claim is reliable.

    A missing folder is created, and removed again if it is empty at the end. The yielded value is False if the file
    system has no locks. Processes forked inside do not hold the claim.

    Args:
        path: the folder, or the file.
        doing: activity of this process, such as `training`, for the error message of others.
        hint: advice for a user who is refused.
        option: option that chooses another path, for the error of a folder that is not writable.
        file: whether `path` is a file.

    Raises:
        InUseError: another process holds the claim; the message has its process id, machine and start time.
        UsageError: the folder cannot be written.
    """
    with ExitStack() as stack:
        folder = path.parent if file else path
        lock = lock_file(path, file=file)
        try:
            stack.callback(_remove_empty, _made(folder))
            certain = _acquire(lock, stack)
            if certain:
                lock.write_text(json.dumps(dataclasses.asdict(_this_process(doing))))
        except TimeoutError as error:
            raise InUseError(_who(lock), where=path, hint=hint) from error
        except OSError as error:
            what = f"cannot be written: {error.strerror or error}"
            raise UsageError(what, where=folder, hint=f"choose another {option}") from error
        yield certain


def lock_file(path: Path, *, file: bool = False) -> Path:
    """Return the path of the lock file for `path`."""
    return path.with_name(f".{path.name}.lock") if file else path / LOCK


def holder(path: Path, *, file: bool = False) -> Holder | None:
    """Return the process that currently holds the claim on `path`; None if there is none or it is unknown."""
    lock = lock_file(path, file=file)
    try:
        with lock.open("r") as opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _read(lock)
    except OSError:
        pass
    return None


def _this_process(doing: str) -> Holder:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return Holder(pid=os.getpid(), host=socket.gethostname(), since=since, doing=doing)


def _made(folder: Path) -> list[Path]:
    """Create `folder`; returns the folders that were missing, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _acquire(lock: Path, stack: ExitStack) -> bool:
    """Take the lock until `stack` closes; returns False if the file system has no locks.

    Raises:
        TimeoutError: another process holds it (`filelock.Timeout` is a subclass).
        OSError: the lock file cannot be written.
    """
    from filelock import FileLock  # takes 0.05 s, and most commands do not need it

    if not lock.exists():
        lock.touch()  # so that errors below can only concern locking
    own = FileLock(lock, timeout=_PATIENCE_SECONDS, fallback_to_soft=False)
    try:
        own.acquire()
    except TimeoutError:
        raise
    except OSError:
        return False
    stack.callback(own.release)
    stack.callback(lock.unlink, missing_ok=True)  # while held: a waiting process detects that it was unlinked
    return True


def _who(lock: Path) -> str:
    """Describe the holder."""
    return str(_read(lock) or "another process is working here")


def _read(lock: Path) -> Holder | None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        with suppress(OSError, ValueError, TypeError):
            return Holder(**json.loads(lock.read_text()))
        if time.monotonic() > end:
            return None
        time.sleep(0.02)
