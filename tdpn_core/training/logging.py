"""Logs of a run: settings, metrics per epoch and step, status, in files and trackers."""

from __future__ import annotations

import json
import os
import resource
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import torch

from tdpn_core.checkpoint import TrainingState
from tdpn_core.config.schema import RunConfig, to_dict
from tdpn_core.errors import Stopped, TdpnError
from tdpn_core.files import sweep, write_json, write_text
from tdpn_core.model_card import card_path, write_card
from tdpn_core.progress import SILENT, Progress, duration
from tdpn_core.runs import BEST
from tdpn_core.training.trackers import TensorBoardTracker, Tracker, find_tracker

STEPS = 20
"""Steps between two logged values."""

_TRACKING = "tracking.json"


class Record:
    """A run's folder and its trackers. Nothing is written before `running`.

    Logs are not needed to resume: a failure to write them is reported once and does not end the run.
    """

    def __init__(
        self, folder: Path, config: RunConfig, *, track: Sequence[str] = (), progress: Progress = SILENT
    ) -> None:
        """`track` names trackers; a resumed run continues with those it had.

        Raises:
            UsageError: a tracker is unknown or not installed.
        """
        self.folder = folder
        self._config = config
        self._progress = progress
        self._state = TrainingState()
        self._known = _known(folder)
        self._trackers: dict[str, Tracker] = {"tensorboard": TensorBoardTracker()}
        self._trackers |= {name: find_tracker(name) for name in dict.fromkeys([*self._known, *track])}
        self._faulty: set[str] = set()

    @contextmanager
    def running(self, state: TrainingState) -> Iterator[None]:
        """Log the run from `state` on; `status.json` contains its status, including how it ended.

        Raises:
            TdpnError: the folder cannot be written.
        """
        self._state = state
        sweep(self.folder)
        write_json(self.folder / "config.json", to_dict(self._config))
        self._begin_tracking()
        self._status("running")
        end, why = "failed", None
        try:
            yield
            end = "finished"
        except Stopped:
            end = "stopped"
            raise
        except BaseException as error:
            why = str(error) or type(error).__name__
            raise
        finally:
            self._each(lambda tracker: tracker.end(end))
            self._status(end, why)
            if end != "failed" and self._state.history:
                self._summarise()

    def step(self, state: TrainingState, values: Mapping[str, float]) -> None:
        """Log a step; `values` are its numbers by name."""
        if state.step % STEPS == 0:
            self._log({f"step/{name}": value for name, value in values.items()}, state.step)

    def epoch(self, state: TrainingState) -> None:
        """Log a finished epoch: write the history to `metrics.csv`, and its last row to the trackers."""
        self._state = state
        self._write("metrics.csv", lambda path: write_text(path, metrics_table(state.history).to_csv(index=False)))
        row = {name: value for name, value in state.history[-1].items() if name not in ("epoch", "step")}
        self._log(row, state.step)
        self._status("running")

    def _log(self, values: Mapping[str, float], step: int) -> None:
        self._each(lambda tracker: tracker.log(values, step))

    def _begin_tracking(self) -> None:
        settings = to_dict(self._config)
        ids: dict[str, str | None] = {}

        def begin(tracker: Tracker) -> None:
            name = next(name for name, own in self._trackers.items() if own is tracker)
            ids[name] = tracker.begin(self.folder, settings, self._known.get(name))

        self._each(begin)
        if known := {name: number for name, number in ids.items() if number is not None}:
            self._write(_TRACKING, lambda path: write_json(path, known))

    def _each(self, call: Callable[[Tracker], None]) -> None:
        """Call all trackers; remove those that fail."""
        for name, tracker in list(self._trackers.items()):
            try:
                call(tracker)
            except Exception as error:
                del self._trackers[name]
                first = (str(error).strip() or type(error).__name__).splitlines()[0]
                self._progress.say(f"{name} is no longer updated: {first}")

    def _write(self, name: str, write: Callable[[Path], object]) -> bool:
        """Create the file `name` with `write`; returns whether it succeeded. It is retried the next time."""
        try:
            write(self.folder / name)
        except TdpnError as error:
            if name not in self._faulty:
                self._faulty.add(name)
                self._progress.say(f"warning: {error.where}: {error.what}; the run continues")
            return False
        return True

    def _summarise(self) -> None:
        from tdpn_core.training.summary import CURVES, SUMMARY, write_summary  # matplotlib takes half a second

        if self._write(SUMMARY, lambda path: write_summary(path.parent, self._config, self._state)):
            self._progress.say(f"summary {self.folder / SUMMARY}, curves {self.folder / CURVES}")
        best = self.folder / BEST
        if best.is_file():
            self._write(card_path(best).name, lambda path: write_card(best))

    def _status(self, name: str, error: str | None = None) -> None:
        status = {
            "state": name,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "error": error,
            "epochs": self._state.epoch,
            "steps": self._state.step,
            "best_score": self._state.best_score if self._state.history else None,
        }
        self._write("status.json", lambda path: write_json(path, status))


class NoRecord(Record):
    """Used by processes of other ranks: writes nothing."""

    def __init__(self, folder: Path, config: RunConfig) -> None:
        self.folder = folder

    @contextmanager
    def running(self, state: TrainingState) -> Iterator[None]:
        """Write nothing."""
        yield

    def step(self, state: TrainingState, values: Mapping[str, float]) -> None:
        """Write nothing."""

    def epoch(self, state: TrainingState) -> None:
        """Write nothing."""


def metrics_table(history: Sequence[Mapping[str, float]]) -> pd.DataFrame:
    """Return one row per epoch; `epoch` and `step` are integers, also in a history restored from a checkpoint."""
    return pd.DataFrame(history).astype({"epoch": int, "step": int})


def _known(folder: Path) -> dict[str, str]:
    """Return the ids that trackers gave the run in `folder`."""
    file = folder / _TRACKING
    if not file.is_file():
        return {}
    known: dict[str, str] = json.loads(file.read_text())
    return known


SLOW = 0.1
"""Share of time spent waiting for data above which advice is given."""

_SURE_SECONDS, _SURE_STEPS = 30.0, 10
"""Time and steps of an epoch before waiting is judged: the first batches always wait for the workers."""


def shown(state: TrainingState, *, lr: float, steps: int, device: torch.device) -> dict[str, str]:
    """Return the progress fields of a run at `state`, of `steps` in all; narrow terminals show the first of them."""
    running = state.running
    clips, seconds = running["clips"], running["seconds"]
    left = (steps - state.step) * seconds / max(1, state.batch)
    return {
        "loss": f"loss {running['loss'] / clips:.3f}",
        "top1": f"top-1 {running['correct'] / clips:.1%}",
        "left": f"{duration(left)} left",
        "speed": f"{clips / seconds:.1f} clips/s",
        "waiting": f"waiting for data {running['waiting'] / seconds:.0%}",
        "lr": f"lr {lr:.2g}",
        "memory": f"{memory(device):.1f} GiB",
    }


def advice(running: dict[str, float], batches: int, *, workers: int, cores: int) -> str | None:
    """Return advice on slow data loading once the waiting time is reliable; None otherwise."""
    seconds = running["seconds"]
    if seconds < _SURE_SECONDS or batches < _SURE_STEPS or running["waiting"] < SLOW * seconds:
        return None
    line = f"waiting for data {running['waiting'] / seconds:.0%} of the time: "
    if workers < cores - 1:
        return line + f"more --workers may help ({workers} of {cores} cores now); `tdpn bench data` measures it"
    return line + "prepare the clips with a smaller --short-side, or as JPEG; `tdpn bench data` measures what is slow"


def memory(device: torch.device) -> float:
    """Return the peak memory in GiB: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
