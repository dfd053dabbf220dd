"""What a run leaves for people: settings, one row of metrics an epoch, TensorBoard curves, how it ended."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd

from tdpn_core.checkpoint import TrainingState
from tdpn_core.config import RunConfig, to_dict
from tdpn_core.errors import Stopped
from tdpn_core.files import sweep, write_json, write_text


class Record:
    """A run's folder, open for writing; leaving it notes how the run ended."""

    def __init__(self, folder: Path, config: RunConfig) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        self.folder = folder
        write_json(folder / "config.json", to_dict(config))
        self._events: Any = None
        self._state = TrainingState()

    def __enter__(self) -> Self:
        from torch.utils.tensorboard.writer import SummaryWriter  # half a second, only when a run really starts

        self._events = SummaryWriter(str(self.folder / "tensorboard"))
        self._status("running")
        return self

    def epoch(self, state: TrainingState) -> None:
        """One more epoch is finished: `metrics.csv` becomes the history, and its last row goes to TensorBoard."""
        self._state = state
        write_text(self.folder / "metrics.csv", pd.DataFrame(state.history).to_csv(index=False))
        for name, value in state.history[-1].items():
            if name not in ("epoch", "step"):
                self._events.add_scalar(name, value, global_step=state.step)
        self._status("running")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.close()
        self._status("finished" if kind is None else "stopped" if issubclass(kind, Stopped) else "failed")

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
