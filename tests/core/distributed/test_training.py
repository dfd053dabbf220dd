"""Two processes train as one run, through the command line: what happens to one happens to both, and nothing is lost.

T2, T4, T5, T6 and T17 of the fault matrix, on the CPU with gloo.
"""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import warm
from command import TINY, environment, launched_by, ranks, same_weights, train, words

from tdpn_core.checkpoint import load_checkpoint


def test_one_process_writes_and_the_state_knows_how_many_trained(undisturbed: Path) -> None:
    checkpoint = load_checkpoint(undisturbed / "last.pt")
    assert checkpoint.world == 2
    assert checkpoint.state.step == 6
    rows = checkpoint.state.history
    assert all(0 <= row["val_top1"] <= 1 and row["loss"] > 0 for row in rows)
    assert len(list((undisturbed / "tensorboard").iterdir())) == 1


def test_a_process_that_dies_is_started_anew_and_the_run_ends_with_the_same_weights(
    prepared: Path, tmp_path: Path, undisturbed: Path
) -> None:
    result = train(prepared, tmp_path / "run", "--processes", 2, TDPN_FAILPOINT="train.step#5@1:kill")
    assert result.returncode == 0, result.stderr
    assert (
        result.stderr.count(f"restart 1 (rank 1 exited without reporting an error): resuming in {tmp_path / 'run'}")
        == 1
    )
    assert same_weights(tmp_path / "run", undisturbed)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("train.step#5@1:kill", "rank 1 was killed by SIGKILL"),
        ("train.step#5@0:exit", "rank 0 exited without reporting an error"),
    ],
)
def test_a_process_that_dies_too_often_is_named_once_and_the_last_state_is_whole(
    prepared: Path, tmp_path: Path, fault: str, message: str
) -> None:
    began = time.monotonic()
    options = ("--processes", 2, "--max-restarts", 0)
    result = train(prepared, tmp_path / "run", *options, TDPN_FAILPOINT=fault)
    assert time.monotonic() - began < 60
    assert result.returncode == 1
    assert result.stderr.count(f"error {message}") == 1, result.stderr
    assert [line for line in result.stderr.splitlines() if line.startswith("error ")] == [f"error {message}"]
    assert "Traceback" not in result.stderr
    assert load_checkpoint(tmp_path / "run" / "last.pt").state.step == 3


def test_one_process_asked_to_stop_stops_all_at_the_same_step_and_resuming_is_exact(
    prepared: Path, tmp_path: Path, undisturbed: Path
) -> None:
    stopped = train(prepared, tmp_path / "run", "--processes", 2, TDPN_FAILPOINT="train.step#5@1:stop")
    assert stopped.returncode == 3, stopped.stderr
    assert stopped.stderr.count("saved after 1 epoch and 2 batches") == 1
    assert load_checkpoint(tmp_path / "run" / "last.pt").state.step == 5
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "stopped"
    resumed = train(prepared, tmp_path / "run", "--processes", 2, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert same_weights(tmp_path / "run", undisturbed)


SLOW_TO_SAVE = """
import sys, time
from tdpn_cli.app import main
from tdpn_core.distributed import watchdog
from tdpn_core.training import trainer
watchdog._GRACE_SECONDS = 1.0
save = trainer.save_last
def slow(*arguments, **options):
    time.sleep(4)
    return save(*arguments, **options)
trainer.save_last = slow
main()
"""


def test_stopped_run_whose_rank_0_saves_longer_than_the_others_are_missed_is_saved(
    prepared: Path, tmp_path: Path
) -> None:
    """The others wait for it: one that had ended would be taken for lost, and rank 0 would give up amid its save."""
    options = ("train", "--data", prepared, "--out", tmp_path / "run", *TINY)
    results = ranks(SLOW_TO_SAVE, *options, TDPN_FAILPOINT="train.step#2@1:stop")
    assert [code for code, _, _ in results] == [3, 3], results
    assert load_checkpoint(tmp_path / "run" / "last.pt").state.step == 2


def test_a_process_that_hangs_is_named_at_the_set_time(prepared: Path, tmp_path: Path) -> None:
    fault = {"TDPN_FAILPOINT": "train.step#2@1:hang"}
    began = time.monotonic()
    result = train(prepared, tmp_path / "run", "--processes", 2, "--timeout", 10, "--max-restarts", 0, **fault)
    assert time.monotonic() - began < 60
    assert result.returncode == 1
    assert result.stderr.count("did not reach the point where the others wait, for 10 s") == 1, result.stderr
    assert "error rank 1 (process" in result.stderr


def test_a_signal_to_the_launcher_stops_all_and_a_killed_launcher_leaves_no_process(
    prepared: Path, tmp_path: Path
) -> None:
    command = words(prepared, tmp_path / "run", "--processes", 2, "--epochs", 500)
    for number, resume in ((signal.SIGUSR1, []), (signal.SIGKILL, ["--resume"])):
        child = warm.Popen([*command, *resume], env=environment(), stderr=warm.PIPE)
        assert child.stderr is not None
        lines: list[str] = []
        for line in child.stderr:
            lines.append(line)
            if line.startswith("epoch"):
                break
        ranks = launched_by(child.pid)
        assert len(ranks) == 2, lines
        os.kill(child.pid, number)
        code = child.wait(30)
        rest = "".join(lines) + child.stderr.read()  # ends when the last process does
        child.stderr.close()
        assert code == (3 if number == signal.SIGUSR1 else -signal.SIGKILL), rest
        until = time.monotonic() + 10
        while launched_by(child.pid) and time.monotonic() < until:
            time.sleep(0.05)
        assert not launched_by(child.pid)
        assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "stopped"
        assert load_checkpoint(tmp_path / "run" / "last.pt").state.epoch >= 1


def test_another_number_of_processes_goes_on_and_says_what_changes(
    prepared: Path, tmp_path: Path, undisturbed: Path
) -> None:
    stop = {"TDPN_FAILPOINT": "train.step#4:stop"}
    assert train(prepared, tmp_path / "run", **stop).returncode == 3
    result = train(prepared, tmp_path / "run", "--processes", 2, "--resume")
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("1 processes trained so far, 2 continue: batches are the same") == 1
    assert load_checkpoint(tmp_path / "run" / "last.pt").state.step == 6
