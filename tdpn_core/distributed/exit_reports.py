"""Exit reports of a run's processes, in files, from which the launcher finds the original failure.

torch's launcher knows only exit codes and restarts everything after any but 0. So a process that ends deliberately,
with an error about its data or because it was asked to, writes a report and exits with 0: a restart would not help.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import time
from pathlib import Path

from tdpn_core import errors
from tdpn_core.distributed.environment import find_place, restarts
from tdpn_core.errors import DistributedError, HangError, TdpnError
from tdpn_core.files import write_json

VARIABLE = "TDPN_ENDINGS"
"""Environment variable with the folder of exit reports, set for processes started by our own launcher."""

_PECULIAR, _UNEXPECTED, _HUNG, _LOST, _TOLD = range(5)
"""Kinds of endings, those that may cause others first."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ending:
    """The error that ended a process."""

    rank: int
    host: str
    pid: int
    seconds: float
    """Time in seconds since the epoch."""

    kind: str
    """Class of the error: one of `tdpn_core.errors`, or any other."""

    what: str
    where: str | None = None
    hint: str | None = None
    told: bool = False
    """Whether it only repeats another process's error."""

    def error(self) -> TdpnError:
        """Return the error for the launcher to raise."""
        kind = getattr(errors, self.kind, None)
        if not (isinstance(kind, type) and issubclass(kind, TdpnError)):
            return DistributedError(f"rank {self.rank} failed: unexpected {self.kind}: {self.what}", hint=_DEBUG)
        return kind(self.what, where=self.where, hint=self.hint)

    def order(self) -> tuple[int, float]:
        """Sort key: causes before consequences."""
        if self.kind == HangError.__name__:
            return (_HUNG, self.seconds)
        if self.kind == DistributedError.__name__:
            return (_TOLD if self.told else _LOST, self.seconds)
        return (_PECULIAR if hasattr(errors, self.kind) else _UNEXPECTED, self.seconds)


_DEBUG = "this may be a bug; run again with --debug to see where"


def begin() -> None:
    """Record that this process has started, if our launcher started it."""
    folder, place = os.environ.get(VARIABLE), find_place()
    if folder is not None and place is not None:
        ending = Path(folder) / f"{restarts()}-{place.local_rank}.json"
        ending.unlink(
            missing_ok=True
        )  # from a start that the launcher did not count, such as another machine's restart
        write_json(ending.with_suffix(".begun"), place.rank)


def remember(folder: Path) -> None:
    """Record the run's folder for a later restart."""
    endings = os.environ.get(VARIABLE)
    if endings is not None:
        write_json(Path(endings) / "run.json", str(folder))


def remembered() -> Path | None:
    """Return the run's folder that an earlier start recorded on this machine."""
    path = Path(os.environ.get(VARIABLE, "")) / "run.json"
    return Path(json.loads(path.read_text())) if VARIABLE in os.environ and path.exists() else None


def report(error: BaseException) -> int | None:
    """Write the exit report of this process, if our launcher started it; returns the exit code to use.

    The code is 0 if a restart would not help. None: not started by our launcher; the process reports the error itself.
    """
    folder, place = os.environ.get(VARIABLE), find_place()
    if folder is None or place is None:
        return None
    known = error if isinstance(error, TdpnError) else None
    ending = Ending(
        rank=place.rank,
        host=socket.gethostname(),
        pid=os.getpid(),
        seconds=time.time(),
        kind=type(error).__name__,
        what=known.what if known else str(error),
        where=str(known.where) if known and known.where is not None else None,
        hint=known.hint if known else None,
        told=isinstance(error, DistributedError) and error.told,
    )
    write_json(Path(folder) / f"{restarts()}-{place.local_rank}.json", dataclasses.asdict(ending))
    return 0 if known and (ending.told or not isinstance(known, DistributedError)) else 1


def last_attempt(folder: Path) -> int:
    """Return the number of the last start, from 0."""
    return max((int(path.name.partition("-")[0]) for path in folder.glob("*-*.begun")), default=0)


def read_endings(folder: Path, attempt: int) -> list[Ending]:
    """Return the reports of the processes of one start on this machine, causes first."""
    found = [Ending(**json.loads(path.read_text())) for path in folder.glob(f"{attempt}-*.json")]
    return sorted(found, key=Ending.order)


def why_restarted() -> str | None:
    """Return what ended the previous start, as far as known on this machine; None if this is not a restart of ours."""
    folder, attempt = os.environ.get(VARIABLE), restarts()
    if folder is None or attempt == 0:
        return None
    error = cause(read_endings(Path(folder), attempt - 1), {}, begun(Path(folder), attempt - 1))
    return None if error is None else str(error)


def begun(folder: Path, attempt: int) -> set[int]:
    """Return the ranks that started in one attempt on this machine."""
    return {int(path.read_text()) for path in folder.glob(f"{attempt}-*.begun")}


def cause(endings: list[Ending], deaths: dict[int, int], ranks: set[int]) -> TdpnError | None:
    """Return the original failure: an error, else a death. None if there is none.

    A killed rank leaves no report, and ranks that lost it report only that. `deaths` are the exit codes of ranks that
    the launcher reports as failed, negative for signals; `ranks` are all that started.
    """
    if endings and endings[0].order()[0] <= _HUNG:
        return endings[0].error()
    silent = {rank: deaths.get(rank, 0) for rank in ranks | set(deaths)} if endings or deaths else {}
    for ending in endings:
        silent.pop(ending.rank, None)
    if endings:  # the launcher ends the remaining ranks with SIGTERM
        silent = {rank: code for rank, code in silent.items() if code != -signal.SIGTERM}
    if not silent:
        return endings[0].error() if endings else None
    rank = min(silent, key=lambda rank: (silent[rank] == 0, rank))
    if silent[rank] < 0:
        hint = "signal 9 often means that the system ran out of memory: use fewer --workers or a smaller --batch-size"
        return DistributedError(f"rank {rank} was killed by {signal.Signals(-silent[rank]).name}", hint=hint)
    return DistributedError(
        f"rank {rank} exited without reporting an error" + (f", code {silent[rank]}" if silent[rank] else "")
    )
