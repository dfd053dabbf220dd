"""Claims: one process at a time works in a folder or on a file; a second one is refused with the first one's name.

A claim is a lock of the operating system on a small file, so a killed process leaves no claim behind, and the file
says who holds it. Where the file system has no locks there is no claim, and `claimed` yields False.
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
"""Longer than another process needs to inspect a lock, or to write its name into one that it just took."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that holds a claim."""

    pid: int
    host: str
    since: str
    """Local time of the start, `2026-01-31 12:30:05`."""

    doing: str
    """What it does, as in `training`."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} has been {self.doing} here since {self.since}"


@contextmanager
def claimed(path: Path, doing: str, *, hint: str, option: str = "--out", file: bool = False) -> Iterator[bool]:
    """Hold the claim on a folder, or with `file` on a file that is to be written; yields whether it is certain.

    A folder that is missing is made, and removed again if it is empty in the end. The yielded value is False where
    the file system has no locks. Processes forked inside do not hold the claim.

    Args:
        path: the folder, or the file.
        doing: what this process does there, as in `training`: the refusal of others repeats it.
        hint: what a refused user can do.
        option: names the option that chooses another place, for an error of a folder that cannot be written.
        file: `path` is a file.

    Raises:
        InUseError: another process holds the claim; the message has its number, its machine, and since when.
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
    """Where the claim on `path` is kept."""
    return path.with_name(f".{path.name}.lock") if file else path / LOCK


def holder(path: Path, *, file: bool = False) -> Holder | None:
    """The process that holds the claim on `path` at this moment; None: there is none, as far as can be known."""
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
    """Make `folder`; gives those folders that were missing, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _acquire(lock: Path, stack: ExitStack) -> bool:
    """Take the lock until `stack` closes; False: the file system has no locks.

    Raises:
        TimeoutError: another process has it (`filelock.Timeout` is one).
        OSError: the lock file cannot be written.
    """
    from filelock import FileLock  # 0.05 s that most commands do not need

    if not lock.exists():
        lock.touch()  # so that an error below is one of locking alone
    own = FileLock(lock, timeout=_PATIENCE_SECONDS, fallback_to_soft=False)
    try:
        own.acquire()
    except TimeoutError:
        raise
    except OSError:
        return False
    stack.callback(own.release)
    stack.callback(lock.unlink, missing_ok=True)  # while it is held: who waits for it notices that it has no name
    return True


def _who(lock: Path) -> str:
    """The holder in words."""
    return str(_read(lock) or "another process is at work here")


def _read(lock: Path) -> Holder | None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        with suppress(OSError, ValueError, TypeError):
            return Holder(**json.loads(lock.read_text()))
        if time.monotonic() > end:
            return None
        time.sleep(0.02)
