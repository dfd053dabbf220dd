"""The training loop: `train` sets up a run, `Trainer.run` iterates epochs; a single step is in `train_step.py`."""

from __future__ import annotations

import dataclasses
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np

from tdpn_core import defaults
from tdpn_core.checkpoint import (
    RUNNING,
    Calibration,
    Checkpoint,
    TrainingState,
    load_checkpoint,
    save_checkpoint,
    score_of,
    standing,
)
from tdpn_core.config.schema import VALIDATION_VIEWS, RunConfig, to_dict
from tdpn_core.distributed.consensus import StopAgreed, run_in_lockstep
from tdpn_core.distributed.runtime import Runtime, must_agree
from tdpn_core.errors import CheckpointError, ConfigError, DatasetError, Interrupted, Stopped
from tdpn_core.evaluation.inference import Probabilities, score_split
from tdpn_core.evaluation.metrics import top_k
from tdpn_core.evaluation.multilabel import best_thresholds, label_loss, macro_f1, mean_average_precision
from tdpn_core.evaluation.training_clips import write_training_clips
from tdpn_core.failpoints import failpoint
from tdpn_core.labels import METRIC_TITLES, clips_per_class, known
from tdpn_core.progress import SILENT, Progress, Silent
from tdpn_core.runs import BEST, LAST
from tdpn_core.sampling.dataset import TrainingClips
from tdpn_core.sampling.loader import Batch, TrainingLoader
from tdpn_core.shards import ClipStore
from tdpn_core.signals import StopRequest, stop_requests
from tdpn_core.training.checkpoints import differences, initialise, newest_good, save_last
from tdpn_core.training.device import on_device
from tdpn_core.training.held_out import hold_out
from tdpn_core.training.logging import NoRecord, Record, advice, shown
from tdpn_core.training.optim import is_over, learning_rate
from tdpn_core.training.train_step import Learner, Outcome
from tdpn_core.wording import counted

_SAVE_EVERY_SECONDS = 600
"""Interval of checkpoints within an epoch: a killed run loses ten minutes at most."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainResult:
    """Result of a finished run."""

    folder: Path
    best: Path
    """Checkpoint with the highest validation top-1, or mAP of multi-label data (ties: lower loss)."""

    state: TrainingState

    @property
    def metric(self) -> str:
        """Return what `state.best_score` is: `top1`, or `map` of multi-label data."""
        return score_of(self.state.history[-1])[0].removeprefix("val_") if self.state.history else "top1"

    @property
    def title(self) -> str:
        """Return the name of `state.best_score` in text, such as `validation top-1`."""
        validated = any("val_loss" in row for row in self.state.history)
        return f"{'validation' if validated else 'training'} {METRIC_TITLES[self.metric]}"


def train(
    config: RunConfig,
    folder: Path,
    *,
    runtime: Runtime,
    workers: int,
    resume: bool | Path = False,
    init: Path | None = None,
    ema: bool | None = None,
    keep: int = defaults.KEEP,
    track: Sequence[str] = (),
    progress: Progress = SILENT,
) -> TrainResult:
    """Train `config` in `folder`: writes checkpoints, `config.json`, `metrics.csv`, `status.json`, TensorBoard events.

    `resume` continues the run in `folder` exactly from its newest intact checkpoint, or from the one given: on a CPU,
    the final weights are bit-identical to those of an uninterrupted run. `init` gives initial weights, and `ema`
    chooses among its averaged and raw ones. The `keep` newest checkpoints are stored; `track` names trackers. Several
    processes train together, and rank 0 writes.

    Raises:
        Stopped: one of the processes received a signal of `signals.SIGNALS`; the run is saved.
        TrainingError: the loss is not finite; nothing is saved after the last good step.
        ShardError: the data is damaged; the message names shard and clip.
        CheckpointError: there is no intact checkpoint to resume from, or the given one is damaged.
        DistributedError: another process was lost, hung, or ended with an error.
    """
    data = Path(config.data.path)
    with stop_requests(tell=runtime.is_main) as stop:
        clips = ClipStore(data, "train")
        if clips.manifest.digest != config.data.digest:
            raise ConfigError("the prepared data has changed since this run began", where=data, hint="start a new run")
        clips, validation = _splits(config, clips, progress)
        for note in _peculiarities(clips, config):
            progress.say(note)
        record = Record(folder, config, track=track, progress=progress) if runtime.is_main else NoRecord(folder, config)
        trainer = Trainer(config, clips, validation, runtime=runtime, workers=workers, record=record, stop=stop)
        trainer.keep = keep
        if resume:
            trainer.resume_from(resume if isinstance(resume, Path) else newest_good(folder, progress.say), progress)
        elif init is not None:
            progress.say(str(initialise(trainer.learner.model, init, clips.manifest, ema=ema)))
            trainer.learner.start_from_model()
        _preflight(runtime, config, trainer.state)
        if is_over(config.train, trainer.state):
            progress.say(f"{folder} is finished: {trainer.state.epoch} epochs, no more training")
        with record.running(trainer.state):  # the folder is written to from here on
            if runtime.is_main:
                write_training_clips(folder, clips)
            trainer.run(progress)
    return TrainResult(folder=folder, best=folder / BEST, state=trainer.state)


def _splits(config: RunConfig, clips: ClipStore, progress: Progress) -> tuple[ClipStore, ClipStore | None]:
    """Return the clips to train on, of all training `clips`, and those to validate on, if any."""
    if not config.train.holdout:
        return clips, _validation(Path(config.data.path), clips, progress)
    training, held_out = hold_out(clips, config.train.holdout, config.train.seed)
    progress.say(f"{counted(len(held_out), 'training clip')} held out for validation, {len(training)} left to train on")
    return training, held_out


def _validation(data: Path, clips: ClipStore, progress: Progress) -> ClipStore | None:
    """Return the validation clips; None if there are none, or none has a label."""
    if "val" not in clips.manifest.clips():
        return None
    validation = ClipStore(data, "val")
    if any(known(labels).any() for labels in validation.labels.values()):
        return validation
    progress.say("note: no validation clip has a label: the run is evaluated on its training clips")
    return None


def _peculiarities(clips: ClipStore, config: RunConfig) -> Iterator[str]:
    """Yield notes on properties of the data that the user may not expect.

    Raises:
        DatasetError: there is nothing to learn: a head has a single class, or no clip has a label.
    """
    if not any((labels >= (1 if config.data.multilabel else 0)).any() for labels in clips.labels.values()):
        hint = "prepare it with annotations that have labels"
        raise DatasetError("no training clip has a label", where=config.data.path, hint=hint)
    for head, names in clips.classes.items():
        if len(names) < 2 and not config.data.multilabel:
            what = f"{head} has the single class {names[0]!r}: there is nothing to distinguish"
            raise DatasetError(what, where=config.data.path, hint="prepare data of at least two classes")
        counts = clips_per_class(clips.labels[head], len(names))
        absent = [name for name, count in zip(names, counts, strict=True) if not count]
        if absent:
            first = ", ".join(repr(name) for name in absent[:3]) + (", ..." if len(absent) > 3 else "")
            yield f"note: {len(absent)} of {len(names)} {head} classes have no training clips: {first}"
    if len(clips.classes) > 1:
        yield f"note: every top-1 of this run is the mean over {' and '.join(clips.classes)}"
    if config.train.batch_size > len(clips):
        yield f"note: a batch of {config.train.batch_size} clips exceeds the {len(clips)} training clips: it has all"


def _preflight(runtime: Runtime, config: RunConfig, state: TrainingState) -> None:
    """Check early that all processes train the same settings from the same state."""
    settings = {
        f"{section}.{field}": value
        for section, values in to_dict(config).items()
        if section in ("model", "sampling", "train")
        for field, value in values.items()
    }
    facts = {
        "host": socket.gethostname(),
        "shards": config.data.digest[:12],
        "initial weights": config.start.sha256[:12],
        "step": state.step,
        **settings,
    }
    must_agree(runtime.gather(facts), "shards", "initial weights", "step", *settings)


class Trainer:
    """A model in training; all state that changes from step to step is in `learner` and `state`.

    Each of several processes has one. They process their parts of the same batches, and come to each place in lockstep
    where one of them may want to leave.
    """

    keep = defaults.KEEP

    def __init__(
        self,
        config: RunConfig,
        clips: ClipStore,
        validation: ClipStore | None,
        *,
        runtime: Runtime,
        workers: int,
        record: Record,
        stop: StopRequest,
    ) -> None:
        # model
        self.config = config
        self.learner = Learner(config, clips.ids, runtime, clips.labels)
        self.state = TrainingState()
        # data
        self.validation = validation
        self.workers = workers
        dataset = TrainingClips(clips, config.model, config.sampling, seed=config.train.seed)
        self.loader = TrainingLoader(
            dataset,
            batch_size=config.train.batch_size,
            seed=config.train.seed,
            workers=workers,
            rank=runtime.rank,
            world=runtime.world,
            balanced=config.train.balanced,
            pin=runtime.device_type == "cuda",
        )
        # environment
        self.runtime = runtime
        self.record = record
        self.stop = stop
        self.saved_at = time.monotonic()
        self.saved: TrainingState | None = None
        self.calibration: Calibration | None = None
        self.advised = False

    def run(self, progress: Progress) -> None:
        """Run the remaining epochs."""
        try:
            while not is_over(self.config.train, self.state):
                self.train_epoch(progress)
                progress.say(_describe(self.finish_epoch(), self.config.train.epochs))
                if is_over(self.config.train, self.state) and self.state.epoch < self.config.train.epochs:
                    progress.say(f"no improvement for {self.config.train.stop_after} epochs: stopping early")
        except StopAgreed as request:
            self._leave(request)

    def train_epoch(self, progress: Progress) -> None:
        """Run the remaining batches of this epoch."""
        progress.begin(f"epoch {self.state.epoch + 1}/{self.config.train.epochs}", len(self.loader))
        progress.advance(self.state.batch)
        batches = on_device(self.loader.epoch(self.state.epoch, start=self.state.batch), self.runtime.device)
        try:
            began = time.perf_counter()
            while (batch := run_in_lockstep(self.runtime, self.stop, lambda: self._next(batches))) is not None:
                arrived = time.perf_counter()
                failpoint("train.step")
                self.runtime.mark()
                outcome = self._step(batch)
                ended = time.perf_counter()
                self._count(outcome, ended - began, arrived - began)
                self._show(outcome, progress)
                if time.monotonic() - self.saved_at > _SAVE_EVERY_SECONDS:
                    self.save_last()
                began = time.perf_counter()
        finally:
            progress.end()

    def finish_epoch(self) -> dict[str, float]:
        """Validate, add a row to the history, and save; returns the row."""
        state, running = self.state, self.state.running
        row = {
            "epoch": state.epoch + 1,
            "step": state.step,
            "lr": self._rate(len(self.loader) - 1),
            "loss": running["loss"] / running["clips"],
            "objective": running["objective"] / running["clips"],
            "top1": running["correct"] / running["clips"],
            "clips_per_second": running["clips"] / running["seconds"],
            "waiting": running["waiting"] / running["seconds"],
            "seconds": running["seconds"],
        }
        if self.validation is not None:
            row |= self.validate(self.validation)
        score, loss = standing(row)
        better = (score, loss) > (state.best_score, -state.best_loss)
        self.state = replace(
            state,
            epoch=state.epoch + 1,
            batch=0,
            running={},
            history=[*state.history, row],
            best_score=score if better else state.best_score,
            best_loss=-loss if better else state.best_loss,
            **self._plateau(score > state.best_score),
        )
        if better and self.runtime.is_main:
            save_checkpoint(self.record.folder / BEST, replace(self._checkpoint(), optimiser={}, resumable=False))
        self.save_last()
        self.record.epoch(self.state)
        return row

    def validate(self, clips: ClipStore) -> dict[str, float]:
        """Return loss and top-k over the labelled `clips`, one centre view each; means over heads.

        For multi-label data it is mAP, and F1 with the thresholds that are best for these clips, which are stored with
        the weights.
        """
        failpoint("train.validate")
        self.runtime.broadcast(self.learner.eval_model.buffers())  # batch statistics of rank 0
        own = run_in_lockstep(self.runtime, self.stop, lambda: self._score(clips), may_stop=False)
        probabilities = {head: self.runtime.merge(values, ~np.isnan(values[:, 0])) for head, values in own.items()}
        if self.config.data.multilabel:
            return self._validate_labels(clips, probabilities)
        rows = []
        for head, values in probabilities.items():
            inside = known(clips.labels[head])
            if not inside.any():
                continue
            labels = clips.labels[head][inside]
            likelihood = values[inside][np.arange(len(labels)), labels]
            loss = -np.log(np.maximum(likelihood, 1e-12)).mean()
            rows.append((loss, top_k(values[inside], labels, 1), top_k(values[inside], labels, 5)))
        loss, top1, top5 = np.mean(rows, axis=0).tolist()
        return {"val_loss": loss, "val_top1": top1, "val_top5": top5}

    def _validate_labels(self, clips: ClipStore, probabilities: Probabilities) -> dict[str, float]:
        """Return the result for multi-label data, which has one head, and choose its thresholds."""
        ((head, values),) = probabilities.items()
        inside = known(clips.labels[head])
        values, labels = values[inside], clips.labels[head][inside]
        thresholds = best_thresholds(values, labels)
        self.calibration = Calibration(
            class_thresholds={head: thresholds}, data=self.config.data.digest, split=clips.split, views=VALIDATION_VIEWS
        )
        return {
            "val_loss": label_loss(values, labels),
            "val_map": mean_average_precision(values, labels),
            "val_f1": macro_f1(values, labels, thresholds),
        }

    def save_last(self) -> None:
        """Write the checkpoint that a resumed run continues from, unless it is up to date."""
        if self.runtime.is_main and self.saved != self.state:
            save_last(self.record.folder, self._checkpoint(), keep=self.keep)
        self.saved, self.saved_at = self.state, time.monotonic()

    def resume_from(self, path: Path, progress: Progress = SILENT) -> None:
        """Continue from a checkpoint of this run.

        Raises:
            ConfigError: it was written with other settings.
        """
        checkpoint = load_checkpoint(path)
        if not checkpoint.resumable:
            what = "contains only weights, without the optimiser's state"
            hint = f"resume from {LAST} next to it, or start a new run from its weights: --init {path}"
            raise CheckpointError(what, where=path, hint=hint)
        if differing := differences(checkpoint.config, self.config):
            raise ConfigError(f"written with another {', '.join(differing)} than this run's", where=path)
        if checkpoint.world != self.runtime.world:
            progress.say(
                f"{checkpoint.world} processes trained so far, {self.runtime.world} continue: batches are the same, "
                "dropout and each process's batch statistics do not"
            )
        self.learner.load_state_dict(checkpoint.weights, checkpoint.optimiser)
        self.state = checkpoint.state

    def _next(self, batches: Iterator[Batch]) -> Batch | None:
        failpoint("train.batch")
        batch = next(batches, None)
        self.runtime.mark()
        return batch

    def _score(self, clips: ClipStore) -> Probabilities:
        return score_split(
            self.learner.eval_model,
            clips,
            self.config,
            views=VALIDATION_VIEWS,
            workers=self.workers,
            rank=self.runtime.rank,
            world=self.runtime.world,
            progress=_Alive(self.runtime),
        )

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(
            config=self.config,
            state=self.state,
            weights=self.learner.weights(),
            optimiser=self.learner.state_dict(),
            world=self.runtime.world,
            calibration=self.calibration if self.state.batch == 0 else None,  # it belongs to the weights of then
        )

    def _step(self, batch: Batch) -> Outcome:
        state = self.state
        return self.learner.step(batch, number=state.step, lr=self._rate(state.batch))

    def _count(self, outcome: Outcome, seconds: float, waiting: float) -> None:
        """Update the state after a batch."""
        state = self.state
        losses = (outcome.loss * outcome.clips, outcome.objective * outcome.clips)
        sums = (*losses, outcome.correct, outcome.clips, seconds, waiting)
        running = {key: state.running.get(key, 0.0) + more for key, more in zip(RUNNING, sums, strict=True)}
        self.state = replace(state, batch=state.batch + 1, step=state.step + 1, running=running)

    def _show(self, outcome: Outcome, progress: Progress) -> None:
        """Show the batch that was just counted."""
        state, rate = self.state, self._rate(self.state.batch - 1)
        steps = self.config.train.epochs * len(self.loader)
        progress.advance(1, **shown(state, lr=rate, steps=steps, device=self.runtime.device))
        numbers = {"loss": outcome.loss, "objective": outcome.objective, "lr": rate, "gradient_norm": outcome.norm}
        self.record.step(state, numbers)
        if not self.advised:
            line = advice(state.running, state.batch, workers=self.workers, cores=len(os.sched_getaffinity(0)))
            if line is not None:
                self.advised = True
                progress.say(line)

    def _leave(self, request: StopAgreed) -> NoReturn:
        """Save, and end the run as requested."""
        # a process that ends earlier would count as lost; and the store may be gone with a killed launcher
        run_in_lockstep(self.runtime, StopRequest(), self.save_last)
        raise (Interrupted if request.interrupted else Stopped)(
            f"saved after {counted(self.state.epoch, 'epoch')} and {counted(self.state.batch, 'batch', 'batches')}",
            where=self.record.folder / LAST,
            hint="add --resume to continue",
        )

    def _rate(self, batch: int) -> float:
        """Return the learning rate of a batch of the current epoch: the schedule's at the middle of its step."""
        epochs = self.state.epoch + (batch + 0.5) / len(self.loader)
        return learning_rate(self.config.train, epochs, drops=self.state.drops)

    def _plateau(self, improved: bool) -> dict[str, int]:
        stale = 0 if improved else self.state.stale_epochs + 1
        if stale >= self.config.train.patience:
            return {"stale_epochs": 0, "drops": self.state.drops + 1}
        return {"stale_epochs": stale, "drops": self.state.drops}


class _Alive(Silent):
    """Signals that this process is alive during a long validation."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def advance(self, steps: int = 1, **fields: str) -> None:
        """Report that clips were scored."""
        self._runtime.alive()


def _describe(row: dict[str, float], epochs: int) -> str:
    name, score = score_of(row)
    title = METRIC_TITLES[name.removeprefix("val_")]
    validation = f", validation {title} {score:.1%} (loss {row['val_loss']:.3f})" if "val_loss" in row else ""
    lowered = f" (objective {row['objective']:.3f})" if abs(row["objective"] - row["loss"]) > 5e-4 else ""
    first = "top-1" if title == "top-1" else "first class right"
    return f"epoch {row['epoch']:.0f}/{epochs}: loss {row['loss']:.3f}{lowered}, {first} {row['top1']:.1%}{validation}"
