"""Experiment trackers: TensorBoard, Weights & Biases and MLflow, with one interface."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from tdpn_core.errors import UsageError

PROJECT = "tdpn"


class Tracker(Protocol):
    """A service that tracks a run. It is configured by its own environment variables."""

    def begin(self, folder: Path, settings: dict[str, Any], known: str | None) -> str | None:
        """Start a run named like `folder`, or resume the one with id `known`; returns its id if it needs one."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers by name, as of optimiser step `step`."""

    def end(self, ending: str) -> None:
        """Finish the run as `finished`, `stopped` or `failed`."""


class TensorBoardTracker:
    """TensorBoard's event files in the run's folder, written for every run.

    They are written synchronously: the thread of TensorBoard's own writer would print its errors.
    """

    def begin(self, folder: Path, settings: dict[str, Any], known: str | None) -> None:
        """Start another event file; TensorBoard joins those of a folder."""
        began = time.time_ns()
        self._path = folder / "tensorboard" / f"events.out.tfevents.{began // 10**9}.{began}.{os.getpid()}"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()
        self._write(file_version="brain.Event:2")

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log a point of each curve."""
        points = [{"tag": name, "simple_value": value} for name, value in values.items()]
        self._write(step=step, summary={"value": points})

    def end(self, ending: str) -> None:
        """Do nothing; everything is written."""

    def _write(self, **fields: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
        from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

        with self._path.open("r+b") as file:  # does not recreate a removed file
            file.seek(0, os.SEEK_END)
            RecordWriter(file).write(Event(wall_time=time.time(), **fields).SerializeToString())


class WandbTracker:
    """Weights & Biases; its files are in the run's folder, also with `WANDB_MODE=offline`."""

    def begin(self, folder: Path, settings: dict[str, Any], known: str | None) -> str:
        """Start or resume the run."""
        import wandb

        self._run = wandb.init(
            project=PROJECT, name=folder.name, dir=str(folder), config=settings, id=known, resume="allow"
        )
        return str(self._run.id)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log a point of each curve."""
        self._run.log(dict(values), step=step)

    def end(self, ending: str) -> None:
        """Send pending data."""
        self._run.finish(exit_code=int(ending == "failed"))


class MlflowTracker:
    """MLflow, at `MLFLOW_TRACKING_URI`, in the experiment `MLFLOW_EXPERIMENT_NAME` or else `tdpn`."""

    def begin(self, folder: Path, settings: dict[str, Any], known: str | None) -> str:
        """Start or resume the run."""
        import mlflow

        self._client = mlflow.MlflowClient()
        if known is not None:
            self._client.set_terminated(known, "RUNNING")
            self._id = known
            return known
        experiment = _experiment(self._client)
        self._id = str(self._client.create_run(experiment, run_name=folder.name).info.run_id)
        for name, value in flat(settings).items():
            self._client.log_param(self._id, name, str(value)[:500])
        return self._id

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log a point of each curve."""
        for name, value in values.items():
            self._client.log_metric(self._id, name, value, step=step)

    def end(self, ending: str) -> None:
        """Set the final status."""
        self._client.set_terminated(self._id, {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}[ending])


TRACKERS: dict[str, tuple[type[Tracker], str]] = {
    "wandb": (WandbTracker, "wandb"),
    "mlflow": (MlflowTracker, "mlflow"),
}
"""Optional trackers by name: the class, and the module that it needs."""


def find_tracker(name: str) -> Tracker:
    """Return the tracker of that name.

    Raises:
        UsageError: there is none, or its module is not installed.
    """
    from importlib.util import find_spec

    if name not in TRACKERS:
        raise UsageError(f"no tracker {name!r}", where="--track", hint=f"one of {', '.join(TRACKERS)}")
    kind, module = TRACKERS[name]
    if find_spec(module) is None:
        raise UsageError(f"{module} is not installed", where="--track", hint=f"pip install 'tdpn[{name}]'")
    return kind()


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings, with names such as `train.lr`."""
    flattened: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            flattened |= flat(value, f"{prefix}{name}.")
        else:
            flattened[prefix + name] = value
    return flattened


def _experiment(client: Any) -> str:
    import os

    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))
