"""Claims between real processes: refused with a name, taken over from the dead, never held by a child."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tdpn_core.claim import LOCK, claimed, holder
from tdpn_core.errors import InUseError, UsageError

HOLD = """
import sys, multiprocessing, time
from pathlib import Path
from tdpn_core.claim import claimed

with claimed(Path(sys.argv[1]), "training", hint="wait", file=sys.argv[2] == "file"):
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,)) if "fork" in sys.argv else None
    if child:
        child.start()
    print(child.pid if child else 0, flush=True)
    sys.stdin.read()
"""


def hold(path: Path, kind: str = "folder", *words: str) -> tuple[subprocess.Popen[str], int]:
    """A process that holds the claim on `path` until its standard input closes, and the id of its child."""
    command = [sys.executable, "-W", "error", "-c", HOLD, str(path), kind, *words]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_claimed_path_of_a_live_process_is_refused_with_its_name(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    process, _ = hold(path, kind)
    said = rf"process {process.pid} on {socket.gethostname()} has been training here since \d{{4}}-\d\d-\d\d \d\d:"
    file = kind == "file"
    with pytest.raises(InUseError, match=said) as refused, claimed(path, "x", hint="choose another", file=file):
        pass
    assert (refused.value.where, refused.value.hint) == (path, "choose another")
    found = holder(path, file=file)
    assert found is not None
    assert (found.pid, found.doing) == (process.pid, "training")
    process.communicate("", timeout=30)
    assert list(tmp_path.iterdir()) == [], "no lock is left, and no empty folder that the claim made"
    with claimed(path, "x", hint="", file=file) as certain:
        assert certain


def test_claim_of_a_killed_process_is_taken_over_although_its_child_lives(tmp_path: Path) -> None:
    process, child = hold(tmp_path, "folder", "fork")
    try:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
        assert (tmp_path / LOCK).exists()
        assert holder(tmp_path) is None
        with claimed(tmp_path, "evaluating", hint=""):
            found = holder(tmp_path)
            assert found is not None
            assert (found.pid, found.doing) == (os.getpid(), "evaluating")
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate(timeout=30)


def test_claimed_folder_with_files_or_made_by_others_is_kept(tmp_path: Path) -> None:
    empty, full = tmp_path / "empty", tmp_path / "new" / "full"
    empty.mkdir()
    with claimed(empty, "x", hint=""):
        pass
    with claimed(full, "x", hint=""):
        (full / "file").touch()
    assert empty.is_dir()
    assert [path.name for path in full.iterdir()] == ["file"]


def test_claimed_folder_that_cannot_be_made_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UsageError, match=r"cannot be written: .*; choose another --root"),
        claimed(tmp_path / "file" / "run", "x", hint="", option="--root"),
    ):
        pass
