"""Of what several processes say as they end, the one that began it is told."""

import json
import signal
from pathlib import Path

import pytest

from tdpn_core.distributed.exit_reports import Ending, begun, cause, last_attempt, read_endings, report, why_restarted
from tdpn_core.errors import DistributedError, HangError, Interrupted, ShardError, Stopped, TdpnError, TrainingError


def ending(rank: int, kind: str, what: str = "it", seconds: float = 0.0, **more: bool) -> Ending:
    return Ending(rank=rank, host="h", pid=rank, seconds=seconds, kind=kind, what=what, **more)


LOST, TOLD = ending(0, "DistributedError", "lost"), ending(0, "DistributedError", "rank 1: it", told=True)


@pytest.mark.parametrize(
    ("endings", "deaths", "message"),
    [
        ([LOST, ending(1, "ShardError", "damaged", 9.0)], {}, "damaged"),
        ([TOLD, ending(1, "ShardError", "damaged", 9.0)], {0: 1}, "damaged"),
        ([LOST, ending(1, "ZeroDivisionError", "by zero")], {}, "rank 1 failed: unexpected ZeroDivisionError: by zero"),
        ([LOST], {1: -signal.SIGKILL}, "rank 1 was killed by SIGKILL; signal 9 often means"),
        ([LOST], {1: -signal.SIGSEGV}, "rank 1 was killed by SIGSEGV"),
        ([LOST], {1: 7}, "rank 1 exited without reporting an error, code 7"),
        ([LOST], {}, "rank 1 exited without reporting an error"),
        ([ending(0, "HangError", "rank 1 hangs")], {1: -signal.SIGKILL}, "rank 1 hangs"),
        ([ending(1, "DistributedError", "missing", 1.0), LOST], {}, "lost"),
        ([LOST], {1: -signal.SIGTERM}, "lost"),
    ],
)
def test_causes_come_before_consequences(endings: list[Ending], deaths: dict[int, int], message: str) -> None:
    found = cause(sorted(endings, key=Ending.order), deaths, {0, 1})
    assert message in str(found)


def test_a_run_that_ended_well_has_no_cause() -> None:
    assert cause([], {}, {0, 1}) is None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ShardError("damaged", where="s.h5", hint="prepare"), 0),
        (TrainingError("not finite"), 0),
        (Stopped("saved"), 0),
        (Interrupted("saved"), 0),
        (DistributedError("rank 1: it", told=True), 0),
        (DistributedError("lost"), 1),
        (HangError("rank 1"), 1),
        (OSError(5, "Input/output error"), 1),
    ],
)
def test_only_what_a_new_start_may_mend_is_a_failure_to_the_launcher(
    error: Exception, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert report(error) is None, "a process that is alone tells the user itself"
    place = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "h", "MASTER_PORT": "1"}
    for name, value in {**place, "TDPN_ENDINGS": str(tmp_path), "TORCHELASTIC_RESTART_COUNT": "2"}.items():
        monkeypatch.setenv(name, value)
    assert report(error) == code
    (found,) = read_endings(tmp_path, 2)
    assert found.rank == 1
    again = found.error()
    if isinstance(error, TdpnError):
        assert (type(again), str(again)) == (type(error), str(error))
    else:
        assert "rank 1 failed: unexpected OSError: [Errno 5] Input/output error" in str(again)


def test_the_start_before_this_one_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_restarted() is None
    for name in ("0-0", "0-1", "1-0"):
        (tmp_path / f"{name}.begun").write_text(name[-1])
    assert (last_attempt(tmp_path), begun(tmp_path, 0)) == (1, {0, 1})
    (tmp_path / "0-0.json").write_text(json.dumps(vars(LOST)))
    monkeypatch.setenv("TDPN_ENDINGS", str(tmp_path))
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert why_restarted() == "rank 1 exited without reporting an error"
