import threading
import time
import uuid
from pathlib import Path

import pytest

from tdpn_core.errors import Stopped, ToolError
from tdpn_core.video.subprocess_limits import SIDE_CHANNEL, ChildError, Limits, run_child

HERE = Path("clip.mp4")


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


@pytest.fixture
def nap() -> str:
    """A duration to sleep that no other process sleeps."""
    return f"100.{uuid.uuid4().int % 10**9:09d}"


def ended(nap: str) -> bool:
    """Whether nobody sleeps `nap` any more, within a second."""
    for _ in range(50):
        if not any(nap in _command(process) for process in Path("/proc").glob("[0-9]*")):
            return True
        time.sleep(0.02)
    return False


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except OSError:
        return ""


def test_output_log_side_channel_and_status_come_back():
    script = f"echo out; echo log >&2; echo side >/dev/fd/{SIDE_CHANNEL}; exit 3"
    finished = run_child(shell(script), Limits(), where=HERE)
    assert (finished.output, finished.log, finished.side, finished.status) == (b"out\n", "log\n", b"side\n", 3)


def test_a_deaf_decoder_is_killed_with_its_grandchild_at_the_limit(nap):
    script = f"trap '' TERM; sleep {nap} & wait; sleep {nap}"
    with pytest.raises(ChildError, match=r"clip\.mp4: decoder timed out: no progress for 0\.5 s"):
        run_child(shell(script), Limits(seconds=0.5), where=HERE)
    assert ended(nap)


def test_a_grandchild_that_holds_the_pipe_does_not_hold_us(nap):
    with pytest.raises(ChildError, match="timed out"):
        run_child(shell(f"sleep {nap} &"), Limits(seconds=0.5), where=HERE)
    assert ended(nap)


@pytest.mark.parametrize("name", ["SEGV", "ABRT", "KILL"])
def test_a_crash_is_named_by_its_signal(name):
    with pytest.raises(ChildError, match=rf"decoder crashed \(SIG{name}\)"):
        run_child(shell(f"kill -{name} $$"), Limits(), where=HERE)


def test_a_flood_of_messages_is_capped_and_keeps_its_head_and_tail():
    script = "echo first >&2; head -c 8000000 /dev/zero | tr '\\0' x >&2; echo last >&2"
    finished = run_child(shell(script), Limits(), where=HERE)
    assert finished.log.startswith("first\n")
    assert finished.log.endswith("last\n")
    assert len(finished.log) <= 64 * 1024


def test_a_flood_of_output_ends_the_child():
    with pytest.raises(ChildError, match="wrote more than 1 MB"):
        run_child(["/bin/cat", "/dev/zero"], Limits(output_bytes=1_000_000), where=HERE)


def test_a_flood_through_the_side_channel_ends_the_child():
    with pytest.raises(ChildError, match="wrote more than 1 MB"):
        run_child(shell(f"cat /dev/zero >/dev/fd/{SIDE_CHANNEL}"), Limits(output_bytes=1_000_000), where=HERE)


def test_a_cancelled_child_is_killed(nap):
    cancel = threading.Event()
    threading.Timer(0.2, cancel.set).start()
    with pytest.raises(Stopped):
        run_child(shell(f"sleep {nap}"), Limits(), where=HERE, cancel=cancel)
    assert ended(nap)


def test_a_child_can_write_no_file(tmp_path):
    target = tmp_path / "written"
    with pytest.raises(ChildError, match="SIGXFSZ"):
        run_child(shell(f"sleep 0.2; echo text >{target}"), Limits(), where=HERE)
    assert target.read_bytes() == b""


def test_no_shell_reads_the_arguments(tmp_path):
    finished = run_child(["/bin/echo", "$(touch x)", "a;b"], Limits(), where=HERE)
    assert finished.output == b"$(touch x) a;b\n"


def test_a_program_that_is_not_there_is_a_tool_error():
    with pytest.raises(ToolError, match="/no/such/program: cannot be started"):
        run_child(["/no/such/program"], Limits(), where=HERE)


def test_no_descriptor_is_left_open():
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(3):
        run_child(["/bin/true"], Limits(), where=HERE)
        with pytest.raises(ChildError):
            run_child(["/bin/cat", "/dev/zero"], Limits(output_bytes=1), where=HERE)
    assert len(list(Path("/dev/fd").iterdir())) == before
