"""What a run leaves for people: settings, one row of metrics an epoch, TensorBoard curves, how it ended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from tdpn_core.checkpoint import TrainingState
from tdpn_core.config import RunConfig, to_dict
from tdpn_core.errors import Stopped
from tdpn_core.files import sweep, write_json, write_text


class Record:
    """A run's folder. Nothing is written to it before `running`."""

    def __init__(self, folder: Path, config: RunConfig) -> None:
        self.folder = folder
        self._config = config
        self._events: Any = None
        self._state = TrainingState()

    @contextmanager
    def running(self, state: TrainingState) -> Iterator[None]:
        """The run goes on from `state`; `status.json` tells, in the end too, how it stands."""
        from torch.utils.tensorboard.writer import SummaryWriter  # half a second, only when a run really starts

        self._state = state
        sweep(self.folder)
        write_json(self.folder / "config.json", to_dict(self._config))
        self._events = SummaryWriter(str(self.folder / "tensorboard"))
        self._status("running")
        end = "failed"
        try:
            yield
            end = "finished"
        except Stopped:
            end = "stopped"
            raise
        finally:
            self._events.close()
            self._status(end)

    def epoch(self, state: TrainingState) -> None:
        """One more epoch is finished: `metrics.csv` becomes the history, and its last row goes to TensorBoard."""
        self._state = state
        write_text(self.folder / "metrics.csv", pd.DataFrame(state.history).to_csv(index=False))
        for name, value in state.history[-1].items():
            if name not in ("epoch", "step"):
                self._events.add_scalar(name, value, global_step=state.step)
        self._status("running")

    def _status(self, name: str) -> None:
        write_json(
            self.folder / "status.json",
            {
                "state": name,
                "pid": os.getpid(),
                "epochs": self._state.epoch,
                "steps": self._state.step,
                "best_top1": self._state.best_top1,
            },
        )


class NoRecord(Record):
    """In a process that is not the one that writes: nothing is left."""

    @contextmanager
    def running(self, state: TrainingState) -> Iterator[None]:
        """Write nothing."""
        yield

    def epoch(self, state: TrainingState) -> None:
        """Write nothing."""
