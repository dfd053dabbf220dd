"""Run the queue of cells: one process per place (a GPU, or a share of the CPU), until all are done or stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tdpn_core.ablation.worker import LOG
from tdpn_core.errors import Interrupted, Stopped
from tdpn_core.progress import Progress
from tdpn_core.runs import LAST
from tdpn_core.signals import StopRequest, stop_requests
from tdpn_core.wording import agree, counted

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 120.0
"""Time for a cell to finish its step and save after a stop request."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a cell runs: a GPU, named as in CUDA_VISIBLE_DEVICES, or a number of CPU threads."""

    gpu: str | None = None
    threads: int | None = None
    number: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment variables of a process there."""
        if self.gpu is not None:
            return {"CUDA_VISIBLE_DEVICES": self.gpu}
        return {} if self.threads is None or "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(self.threads)}


def places(gpus: int, jobs: int) -> list[Place]:
    """Return one place per GPU for `gpus` GPUs; without any, `jobs` places that share the CPU's cores."""
    if gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        names = [name.strip() for name in visible.split(",") if name.strip()] or [str(n) for n in range(gpus)]
        return [Place(gpu=name) for name in names[:gpus]]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [Place(threads=max(1, cores // jobs) if jobs > 1 else None, number=number) for number in range(jobs)]


def run_queue(folders: Sequence[Path], where: Sequence[Place], progress: Progress) -> dict[Path, str]:
    """Run the cell of each folder; returns the reasons for those that failed. A failure does not stop the rest.

    Raises:
        Stopped, Interrupted: stopped by a signal; every running cell has ended, and those that train have saved.
    """
    waiting, failures = list(folders), {}
    running: dict[Place, tuple[Path, subprocess.Popen[bytes]]] = {}
    free = list(where)
    progress.begin("cells", len(folders))
    with stop_requests() as stop, _none_left_behind(running):
        while waiting or running:
            if stop:
                _leave(running, stop)
            while free and waiting:
                place, folder = free.pop(0), waiting.pop(0)
                progress.say(f"{folder.parent.name}, {folder.name}: {'resumed' if _begun(folder) else 'started'}")
                running[place] = folder, _start(folder, place)
            for place, (folder, child) in list(running.items()):
                if child.poll() is None:
                    continue
                del running[place]
                _close(child)
                free.append(place)
                if child.returncode:
                    failures[folder] = _reason(folder, child.returncode)
                    progress.say(f"{folder.parent.name}, {folder.name}: failed, {failures[folder]}")
                progress.advance()
            progress.advance(0, running="  ".join(_epochs_done(folder) for folder, _ in running.values()))
            time.sleep(_POLL_SECONDS if running else 0)
    progress.end()
    return failures


def _start(folder: Path, place: Place) -> subprocess.Popen[bytes]:
    """Start the cell's process in its own group: only this process gets terminal signals, and forwards them once."""
    command = [sys.executable, "-m", "tdpn_core.ablation", str(folder), "0" if place.gpu is None else "1"]
    with (folder / LOG).open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **place.environment},
            start_new_session=True,
        )


def _close(child: subprocess.Popen[bytes]) -> None:
    """Close the pipe by which the process detects that this one is alive."""
    if child.stdin is not None:
        child.stdin.close()


def _leave(running: dict[Place, tuple[Path, subprocess.Popen[bytes]]], stop: StopRequest) -> None:
    for _, child in running.values():
        child.send_signal(signal.SIGTERM)
    end = time.monotonic() + _GRACE_SECONDS
    for _, child in running.values():
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(max(0.0, end - time.monotonic()))
    raise (Interrupted if stop.signal == signal.SIGINT else Stopped)(
        left_behind([folder for folder, _ in running.values()]), hint="run the same command again to continue"
    )


def left_behind(folders: Sequence[Path]) -> str:
    """Return how many cells were stopped, and how many of these can be resumed: not those that measure costs."""
    count, saved = len(folders), sum((folder / LAST).exists() for folder in folders)
    if not count:
        return "no cell was running"
    if saved == count:
        return f"{counted(count, 'running cell')} {agree(count, 'has saved its', 'have saved their')} state"
    if saved:
        kept = agree(saved, "has saved its state", "have saved their states")
        others = agree(count - saved, "the other one starts", "the others start")
        return f"{saved} of {count} running cells {kept}, {others} again from the beginning"
    return f"{counted(count, 'running cell')} {agree(count, 'starts', 'start')} again from the beginning"


@contextlib.contextmanager
def _none_left_behind(running: dict[Place, tuple[Path, subprocess.Popen[bytes]]]) -> Iterator[None]:
    """Make sure that no process of a cell survives, whatever ends the block."""
    try:
        yield
    finally:
        for _, child in running.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            _close(child)


def _begun(folder: Path) -> bool:
    return (folder / "status.json").exists()


def _epochs_done(folder: Path) -> str:
    """Return the progress of a cell from its run's status file."""
    try:
        epochs = json.loads((folder / "status.json").read_text())["epochs"]
    except (OSError, ValueError, KeyError):
        epochs = 0
    return f"{folder.parent.name}, {folder.name}: {epochs} epochs"


def _reason(folder: Path, code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}, see {folder / LOG}"
    lines = (folder / LOG).read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {code}"
