"""Several runs at once, by the command line in real processes: one folder has one run at a time."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import warm

from tdpn_core.checkpoint import load_checkpoint
from tdpn_core.runs import CELL, newest_checkpoint

TINY = ["--frames", "2", "--size", "32", "--batch-size", "8", "--workers", "0", "--set", "model.width=0.125"]
TINY += ["--recipe", "small", "--gpus", "0"]


def begin(*words: object, cwd: Path) -> warm.Popen:
    return warm.Popen(command(*words), cwd=cwd, env=environment(), stdout=warm.PIPE, stderr=warm.PIPE)


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "tdpn_cli", *map(str, words)]


def environment() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}


def wait_for(path: Path, process: warm.Popen) -> None:
    end = time.monotonic() + 240
    while not path.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    assert path.exists(), process.communicate(timeout=1) if process.poll() is not None else "it takes too long"


@pytest.fixture
def live(prepared: Path, tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A run that lasts as long as the test, held still after its first epochs: its folder and process."""
    process = begin("train", "--data", prepared, "--epochs", 100_000, *TINY, cwd=tmp_path)
    folder = tmp_path / "runs" / "folder-tdpn-r18"
    try:
        wait_for(folder / "last.pt", process)
        process.send_signal(signal.SIGSTOP)
        yield folder, process.pid
    finally:
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=240)
    assert process.returncode == 3
    assert not list(folder.glob(".*")), "the claim ends with the run"


def test_train_into_the_folder_of_a_live_run_is_refused(live: tuple[Path, int], prepared: Path, tmp_path: Path) -> None:
    folder, first = live
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.is_file()}
    for words in (["--data", prepared, *TINY, "--out", folder], ["--resume"]):
        process = begin("train", *words, cwd=tmp_path)
        _, messages = process.communicate(timeout=240)
        assert process.returncode == 2, messages
        assert re.search(rf"process {first} on \S+ has been training here since \d{{4}}-", messages), messages
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_train_started_twice_at_once_makes_two_runs(prepared: Path, tmp_path: Path) -> None:
    both = [begin("train", "--data", prepared, "--epochs", n, *TINY, cwd=tmp_path) for n in (1, 2)]
    said = [process.communicate(timeout=240)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    runs = sorted((tmp_path / "runs").iterdir())
    assert [run.name for run in runs] == ["folder-tdpn-r18", "folder-tdpn-r18-2"]
    assert sorted(load_checkpoint(run / "best.pt").config.train.epochs for run in runs) == [1, 2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_train_stopped_while_it_imports_says_that_nothing_was_saved(
    number: signal.Signals, prepared: Path, tmp_path: Path
) -> None:
    words = command("train", "--data", prepared, *TINY)
    process = subprocess.Popen(words, cwd=tmp_path, env=environment(), stdout=-1, stderr=-1, text=True)
    maps = Path(f"/proc/{process.pid}/maps")
    end = time.monotonic() + 240
    while "libtorch" not in maps.read_text() and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(number)
    out, messages = process.communicate(timeout=240)
    assert process.returncode == (130 if number == signal.SIGINT else 3), messages
    assert re.search(r"^(stopped by SIG\w+|interrupted) before .*: nothing was saved", messages), messages
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_newest_checkpoint_is_never_that_of_an_ablations_cell(tmp_path: Path) -> None:
    run, cell = tmp_path / "run", tmp_path / "ablate" / "temporal=none" / "seed-0"
    for age, folder in enumerate((cell, run)):
        folder.mkdir(parents=True)
        (folder / "best.pt").touch()
        os.utime(folder / "best.pt", (1000 - age, 1000 - age))
    (cell / CELL).touch()
    assert newest_checkpoint(tmp_path) == run / "best.pt"
