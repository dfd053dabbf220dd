"""A run that is killed at random moments, again and again, ends as if nothing had happened (T1 of the fault matrix)."""

import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import warm

from tdpn_core.checkpoint import load_checkpoint

KILLS = 3
"""Of a run, at most."""

Train = Callable[[Path, Callable[[int, Path], None]], int]


@pytest.fixture(scope="module")
def train(prepared: Path, tiny: dict[str, str]) -> Train:
    """`train(out, disturb)`: run or continue a run of two epochs; gives the exit code, negative for a signal."""
    words = ["train", "--data", str(prepared), "--recipe", "small", "--workers", "0"]
    words += [word for name, value in tiny.items() for word in ("--set", f"{name}={value}")]

    def run(out: Path, disturb: Callable[[int, Path], None]) -> int:
        resume = ["--resume"] if (out / "last.pt").exists() else []
        command = [sys.executable, "-W", "error", "-m", "tdpn_cli", *words, "--out", str(out), *resume]
        with warm.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=2) as process:
            disturb(process.pid, out)
            return process.wait()

    return run


@pytest.fixture(scope="module")
def undisturbed(train: Train, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A run that nobody killed, and how many seconds it took."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    began = time.monotonic()
    assert train(out, _never) == 0
    return out, time.monotonic() - began


def _never(pid: int, out: Path) -> None:
    """Let it end by itself."""


def _at(seconds: float) -> Callable[[int, Path], None]:
    def disturb(pid: int, out: Path) -> None:
        time.sleep(seconds)
        _kill(pid)

    return disturb


def _while_saving(nth: int, seconds: float) -> Callable[[int, Path], None]:
    """Kill `seconds` after the `nth` time that a checkpoint is seen half written."""

    def disturb(pid: int, out: Path) -> None:
        seen = set[str]()
        while Path(f"/proc/{pid}").exists() and len(seen) < nth:
            seen |= {path.name for path in out.glob(".tmp-*.pt")}
        time.sleep(seconds)
        _kill(pid)

    return disturb


def _kill(pid: int) -> None:
    """One that has just ended is not there to be killed."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _same(one: Path, other: Path) -> bool:
    """Whether two runs left the same: weights, optimiser, and what was measured."""
    timed = {"seconds", "waiting", "clips_per_second"}
    for name in ("last.pt", "best.pt"):
        a, b = load_checkpoint(one / name), load_checkpoint(other / name)
        rows = [[{key: row[key] for key in row.keys() - timed} for row in x.state.history] for x in (a, b)]
        if rows[0] != rows[1] or a.state.step != b.state.step:
            return False
        for mine, yours in ((a.weights, b.weights), (a.optimiser, b.optimiser)):
            if mine.keys() != yours.keys() or not all(torch.equal(mine[key], yours[key]) for key in mine):
                return False
    return True


def test_a_run_killed_at_random_moments_ends_with_the_same_weights(
    train: Train, undisturbed: tuple[Path, float], tmp_path: Path, repetitions: int
) -> None:
    whole, seconds = undisturbed
    draw = random.Random(repetitions)
    killed, runs, halves = 0, 0, 0
    while killed < KILLS * repetitions:
        runs += 1
        out = tmp_path / f"run-{runs}"
        for attempt in itertools.count():
            moment = _at(draw.uniform(0, seconds / 2))
            saving = _while_saving(draw.randint(1, 3), draw.uniform(0, 0.01))
            code = train(out, draw.choice([moment, saving]) if attempt < KILLS else _never)
            if code == 0:
                break
            assert code == -signal.SIGKILL
            killed += 1
            halves += any(out.glob(".tmp-*"))
        assert _same(out, whole)
        assert not any(out.glob(".tmp-*"))
    assert halves > 0 or repetitions == 1
    print(f"{runs} runs were killed {killed} times, {halves} times while a file was being written")
