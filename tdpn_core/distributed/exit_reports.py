"""Exit reports of a run's processes, in the error files of torch's launcher, and the original failure among them.

The launcher gives every process of every start a file, `attempt_0/1/error.json` for local rank 1 (the variable
TORCHELASTIC_ERROR_FILE). It knows exit codes alone and restarts all processes after any but 0. So a process that ends
for a reason that a new start would not mend, damaged data or a request to stop, writes its report and exits with 0.
See docs/decisions/005-processes.md.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tdpn_core import errors
from tdpn_core.distributed.environment import has_launcher, restarts
from tdpn_core.errors import DistributedError, HangError, TdpnError
from tdpn_core.files import write_json

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

FILE = "TORCHELASTIC_ERROR_FILE"
"""Environment variable with the path of this process's report."""

_OWN_FAULT, _UNEXPECTED, _HUNG, _LOST, _REPEATED = range(5)
"""Kinds of endings, those that may cause others first."""

_DEBUG = "this may be a bug; run again with --debug to see where"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExitReport:
    """The error that ended a process."""

    rank: int
    local_rank: int
    host: str
    pid: int
    seconds: float
    """Time in seconds since the epoch."""

    kind: str
    """Class of the error: one of `tdpn_core.errors`, or any other."""

    what: str
    where: str | None = None
    hint: str | None = None
    already_reported: bool = False
    """Whether it only repeats another process's error."""

    def error(self) -> TdpnError:
        """Return the error for the launcher to raise."""
        kind = getattr(errors, self.kind, None)
        if not (isinstance(kind, type) and issubclass(kind, TdpnError)):
            return DistributedError(f"rank {self.rank} failed: unexpected {self.kind}: {self.what}", hint=_DEBUG)
        return kind(self.what, where=self.where, hint=self.hint)

    @property
    def stopped(self) -> bool:
        """Whether the process was asked to stop."""
        kind = getattr(errors, self.kind, None)
        return isinstance(kind, type) and issubclass(kind, errors.Stopped)

    def order(self) -> tuple[int, float]:
        """Sort key: causes before consequences."""
        if self.kind == HangError.__name__:
            return (_HUNG, self.seconds)
        if self.kind == DistributedError.__name__:
            return (_REPEATED if self.already_reported else _LOST, self.seconds)
        return (_OWN_FAULT if hasattr(errors, self.kind) else _UNEXPECTED, self.seconds)


def write_report(error: BaseException) -> int | None:
    """Report how this process ends, if a launcher asks for it; returns the exit code that our own launcher wants.

    That is 0 for what a new start would not mend. None: the process itself tells the user.
    """
    path = os.environ.get(FILE)
    if not path:
        return None
    known = error if isinstance(error, TdpnError) else None
    report = ExitReport(
        rank=int(os.environ["RANK"]),
        local_rank=int(os.environ["LOCAL_RANK"]),
        host=socket.gethostname(),
        pid=os.getpid(),
        seconds=time.time(),
        kind=type(error).__name__,
        what=known.what if known else str(error),
        where=str(known.where) if known and known.where is not None else None,
        hint=known.hint if known else None,
        already_reported=isinstance(error, DistributedError) and error.already_reported,
    )
    # as torch's `record` writes it: torchrun prints `message` of the process that it takes for the first
    extra = {**dataclasses.asdict(report), "timestamp": str(int(report.seconds))}
    write_json(Path(path), {"message": {"message": f"{report.kind}: {error}", "extraInfo": extra}})
    if not has_launcher():
        return None
    return 0 if known and (report.already_reported or not isinstance(known, DistributedError)) else 1


def read_reports(attempt: Path) -> list[ExitReport]:
    """Return the reports of the processes of one start on this machine, causes first. `attempt`: its folder."""
    fields = {field.name for field in dataclasses.fields(ExitReport)}
    written = (json.loads(path.read_text())["message"]["extraInfo"] for path in attempt.glob("*/error.json"))
    reports = [ExitReport(**{name: value for name, value in extra.items() if name in fields}) for extra in written]
    return sorted(reports, key=ExitReport.order)


def last_attempt(folder: Path) -> Path | None:
    """Return the folder of the last start, in the launcher's `folder`; None if there was none."""
    attempts = folder.glob("*/attempt_*")
    return max(attempts, key=lambda path: int(path.name.rpartition("_")[2]), default=None)


def restart_reason() -> str | None:
    """Return what ended the previous start, as far as known on this machine; None if this is not a restart of ours."""
    path, attempt = os.environ.get(FILE), restarts()
    if not path or attempt == 0:
        return None
    error = root_cause(Path(path).parents[1].with_name(f"attempt_{attempt - 1}"))
    return None if error is None else str(error)


def save_run_folder(folder: Path) -> None:
    """Record the run's folder for a later restart."""
    if has_launcher():
        write_json(_run_note(), str(folder))


def saved_run_folder() -> Path | None:
    """Return the run's folder that an earlier start recorded on this machine."""
    return Path(json.loads(_run_note().read_text())) if has_launcher() and _run_note().exists() else None


def _run_note() -> Path:
    return Path(os.environ[FILE]).parents[2] / "run.json"


def root_cause(attempt: Path, failures: Mapping[int, ProcessFailure] | None = None) -> TdpnError | None:
    """Return what ended a start: an error, else a death; None if it succeeded.

    A rank that was killed reports nothing, and those that lost it report no more than that. `failures` are the
    launcher's, by rank: those with an exit code other than 0, negative for signals. `attempt` has a folder for each
    rank of this machine.
    """
    reports, failures = read_reports(attempt), failures or {}
    if reports and reports[0].order()[0] <= _HUNG and not (reports[0].stopped and _killed(reports, failures)):
        return reports[0].error()
    places = [(report.rank, report.local_rank) for report in reports]
    places += [(rank, failure.local_rank) for rank, failure in failures.items()]
    if not places:
        return None
    first = places[0][0] - places[0][1]  # the ranks of a machine follow one another
    ranks = {first + int(path.name) for path in attempt.glob("[0-9]*")} | set(failures)
    silent = {rank: failures[rank].exitcode if rank in failures else 0 for rank in ranks}
    for report in reports:
        silent.pop(report.rank, None)
    if reports:  # the launcher ends those who are left with SIGTERM
        silent = {rank: code for rank, code in silent.items() if code != -signal.SIGTERM}
    if not silent:
        return reports[0].error() if reports else None
    rank = min(silent, key=lambda rank: (silent[rank] == 0, rank))
    return _death(rank, silent[rank])


def _killed(reports: list[ExitReport], failures: Mapping[int, ProcessFailure]) -> bool:
    """Return whether a rank was killed before it could report; the launcher then ends the others with SIGTERM."""
    reported = {report.rank for report in reports}
    codes = {failure.exitcode for rank, failure in failures.items() if rank not in reported}
    return any(code < 0 and code != -signal.SIGTERM for code in codes)


def _death(rank: int, code: int) -> DistributedError:
    """Of a rank that reported nothing."""
    if code < 0:
        less = "use fewer --processes or --workers, or a smaller --batch-size"
        hint = f"signal 9 often means that the system ran out of memory: {less}"
        return DistributedError(f"rank {rank} was killed by {signal.Signals(-code).name}", hint=hint)
    return DistributedError(f"rank {rank} exited without reporting an error" + (f", code {code}" if code else ""))
