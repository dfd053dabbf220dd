"""The launcher names the process that failed first, whatever the others report as they end."""

import json
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from tdpn_core.distributed.exit_reports import (
    ExitReport,
    last_attempt,
    read_reports,
    restart_reason,
    root_cause,
    save_run_folder,
    saved_run_folder,
    write_report,
)
from tdpn_core.errors import DistributedError, HangError, Interrupted, ShardError, Stopped, TdpnError, TrainingError

FIRST = 4
"""The lowest rank of this machine."""


def report(rank: int, kind: str, what: str = "it", seconds: float = 0.0, **more: bool) -> ExitReport:
    return ExitReport(
        rank=FIRST + rank, local_rank=rank, host="h", pid=rank, seconds=seconds, kind=kind, what=what, **more
    )


def attempt_of(folder: Path, *reports: ExitReport) -> Path:
    """The folder that torch's launcher makes for a start of two processes, with what they reported."""
    for rank in (0, 1):
        (folder / str(rank)).mkdir(parents=True)
    for one in reports:
        content = {"message": {"message": one.what, "extraInfo": vars(one)}}
        (folder / str(one.local_rank) / "error.json").write_text(json.dumps(content))
    return folder


def failures(codes: Mapping[int, int]) -> dict[int, ProcessFailure]:
    """The launcher's failures, of exit codes by local rank."""
    return {FIRST + rank: ProcessFailure(rank, 1, code, "") for rank, code in codes.items()}


LOST = report(0, "DistributedError", "lost")
REPEATED = report(0, "DistributedError", "rank 5: it", already_reported=True)


@pytest.mark.parametrize(
    ("reports", "codes", "message"),
    [
        ([LOST, report(1, "ShardError", "damaged", 9.0)], {}, "damaged"),
        ([REPEATED, report(1, "ShardError", "damaged", 9.0)], {0: 1}, "damaged"),
        ([LOST, report(1, "ZeroDivisionError", "by zero")], {}, "rank 5 failed: unexpected ZeroDivisionError: by zero"),
        ([LOST], {1: -signal.SIGKILL}, "rank 5 was killed by SIGKILL; signal 9 often means"),
        ([report(0, "Stopped", "on request")], {1: -signal.SIGKILL}, "rank 5 was killed by SIGKILL"),
        ([report(0, "Stopped", "on request")], {1: -signal.SIGTERM}, "on request"),
        ([LOST], {1: -signal.SIGSEGV}, "rank 5 was killed by SIGSEGV"),
        ([LOST], {1: 7}, "rank 5 exited without reporting an error, code 7"),
        ([LOST], {}, "rank 5 exited without reporting an error"),
        ([], {0: 7}, "rank 4 exited without reporting an error, code 7"),
        ([report(0, "HangError", "rank 5 hangs")], {1: -signal.SIGKILL}, "rank 5 hangs"),
        ([report(1, "DistributedError", "missing", 1.0), LOST], {}, "lost"),
        ([LOST], {1: -signal.SIGTERM}, "lost"),
    ],
)
def test_root_cause_comes_before_its_consequences(
    reports: list[ExitReport], codes: dict[int, int], message: str, tmp_path: Path
) -> None:
    found = root_cause(attempt_of(tmp_path / "attempt_0", *reports), failures(codes))
    assert message in str(found)


def test_root_cause_of_a_run_that_ended_well_is_none(tmp_path: Path) -> None:
    assert root_cause(attempt_of(tmp_path / "attempt_0")) is None


def launched(monkeypatch: pytest.MonkeyPatch, attempt: Path, rank: int, *, by_us: bool = True) -> None:
    """The environment that torch's launcher gives a process of a start whose folder is `attempt`."""
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(attempt / str(rank) / "error.json"))
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", attempt.name.rpartition("_")[2])
    monkeypatch.setenv("RANK", str(FIRST + rank))
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    if by_us:
        monkeypatch.setenv("TDPN_LAUNCHER", "1")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ShardError("damaged", where="s.h5", hint="prepare"), 0),
        (TrainingError("not finite"), 0),
        (Stopped("saved"), 0),
        (Interrupted("saved"), 0),
        (DistributedError("rank 1: it", already_reported=True), 0),
        (DistributedError("lost"), 1),
        (HangError("rank 1"), 1),
        (OSError(5, "Input/output error"), 1),
    ],
)
def test_exit_report_asks_for_a_restart_only_where_that_may_help(
    error: Exception, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert write_report(error) is None, "a process that is alone tells the user itself"
    attempt = attempt_of(tmp_path / "attempt_2")
    launched(monkeypatch, attempt, 1)
    assert write_report(error) == code
    (found,) = read_reports(attempt)
    assert found.rank == FIRST + 1
    again = found.error()
    if isinstance(error, TdpnError):
        assert (type(again), str(again)) == (type(error), str(error))
    else:
        assert "rank 5 failed: unexpected OSError: [Errno 5] Input/output error" in str(again)


def test_exit_report_under_torchrun_is_what_it_prints_and_the_process_tells_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = attempt_of(tmp_path / "attempt_0")
    launched(monkeypatch, attempt, 1, by_us=False)
    assert write_report(ShardError("damaged", where="s.h5")) is None
    failure = ProcessFailure(1, 1, 1, str(attempt / "1" / "error.json"))
    assert failure.message["message"] == "ShardError: s.h5: damaged"  # type: ignore[index]
    assert saved_run_folder() is None


def test_restart_reason_and_run_folder_come_from_the_start_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert restart_reason() is None
    run = tmp_path / "tdpn-1_x"
    launched(monkeypatch, attempt_of(run / "attempt_0", LOST), 0)
    assert restart_reason() is None
    assert saved_run_folder() is None
    save_run_folder(Path("runs/a"))
    launched(monkeypatch, attempt_of(run / "attempt_1"), 0)
    assert restart_reason() == "rank 5 exited without reporting an error"
    assert saved_run_folder() == Path("runs/a")
    attempt_of(run / "attempt_10")
    assert last_attempt(tmp_path) == run / "attempt_10"
