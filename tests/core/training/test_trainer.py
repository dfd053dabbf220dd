"""Runs: what they leave, how they stop, and that a resumed one is the same run."""

import csv
import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import warm

from tdpn_core.checkpoint import Checkpoint, load_checkpoint
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.config.schema import RunConfig
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.errors import ConfigError, Stopped, TrainingError
from tdpn_core.model.registry import build_model
from tdpn_core.progress import Silent
from tdpn_core.training import train_step as step
from tdpn_core.training.launch import plan
from tdpn_core.training.trainer import TrainResult, train

CPU = Runtime(torch.device("cpu"))


@pytest.fixture
def config(prepared: Path, tiny: dict[str, str]) -> RunConfig:
    return plan(prepared, runtime=CPU, recipe="small", overrides=TrainOverrides(settings=tiny))


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """A run must leave the signal handlers as they were."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def _train(config: RunConfig, folder: Path, **options: Any) -> TrainResult:
    return train(config, folder, runtime=CPU, **{"workers": 0, **options})


def _same(one: Checkpoint, other: Checkpoint) -> bool:
    tensors = [(one.weights, other.weights), (one.optimiser, other.optimiser)]
    return all(a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) for a, b in tensors)


class _StopAfter(Silent):
    """Asks this process to stop, as Ctrl-C does, when so many batches are done."""

    def __init__(self, batches: int, number: int = signal.SIGINT) -> None:
        self.left = batches
        self.number = number

    def advance(self, steps: int = 1, **fields: str) -> None:
        if "loss" in fields:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), self.number)


class _Lines(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_a_run_leaves_its_settings_its_metrics_and_two_checkpoints(config: RunConfig, tmp_path: Path) -> None:
    result = _train(config, tmp_path / "run")
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(0 <= float(row["val_top1"]) <= float(row["val_top5"]) <= 1 for row in rows)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["train"]["epochs"] == 2
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "finished"
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    assert load_checkpoint(tmp_path / "run" / "last.pt").state == result.state
    best = max(range(2), key=lambda row: (float(rows[row]["val_top1"]), -float(rows[row]["val_loss"])))
    assert load_checkpoint(result.best).state.epoch == best + 1


def test_training_changes_every_weight_and_lowers_the_loss(config: RunConfig, tmp_path: Path) -> None:
    longer = replace(config, train=replace(config.train, epochs=6, warmup_epochs=0.0))
    result = _train(longer, tmp_path / "run")
    losses = [row["loss"] for row in result.state.history]
    assert losses[-1] < losses[0]
    trainer_start = build_model(longer.model).state_dict()
    end = load_checkpoint(tmp_path / "run" / "last.pt").weights
    unchanged = [name for name, value in end.items() if value.ndim > 1 and torch.equal(value, trainer_start[name])]
    assert not unchanged


@pytest.mark.parametrize(("batches", "workers"), [(1, 0), (2, 1), (3, 0), (4, 0)])
def test_a_run_stopped_anywhere_and_resumed_ends_bit_identical(
    config: RunConfig, tmp_path: Path, batches: int, workers: int, undisturbed: Checkpoint
) -> None:
    with pytest.raises(Stopped, match=r"saved after .*; add --resume") as caught:
        _train(config, tmp_path / "run", progress=_StopAfter(batches))
    assert caught.value.exit_code == 130
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "stopped"
    assert load_checkpoint(tmp_path / "run" / "last.pt").state.step == batches
    _train(config, tmp_path / "run", resume=True, workers=workers)
    resumed = load_checkpoint(tmp_path / "run" / "last.pt")
    assert _same(resumed, undisturbed)
    kept = ("epoch", "step", "lr", "loss", "top1", "val_loss", "val_top1")
    rows = [[{key: row[key] for key in kept} for row in run.state.history] for run in (resumed, undisturbed)]
    assert rows[0] == rows[1]


@pytest.fixture(scope="module")
def undisturbed(prepared: Path, tiny: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("undisturbed")
    _train(plan(prepared, runtime=CPU, recipe="small", overrides=TrainOverrides(settings=tiny)), folder)
    return load_checkpoint(folder / "last.pt")


def test_a_killed_run_goes_on_from_its_last_checkpoint(
    config: RunConfig, tmp_path: Path, undisturbed: Checkpoint
) -> None:
    child = f"""
import os, signal, torch
from pathlib import Path
from tdpn_core.config.schema import RunConfig, from_dict
from tdpn_core.progress import Silent
from tdpn_core.training import trainer
from tdpn_core.distributed.runtime import Runtime
import json
config = from_dict(RunConfig, json.loads(Path({str(tmp_path / "config.json")!r}).read_text()))
class Kill(Silent):
    batches = 0
    def advance(self, steps=1, **fields):
        self.batches += "loss" in fields
        if self.batches == 5:
            os.kill(os.getpid(), signal.SIGKILL)
trainer.train(config, Path({str(tmp_path / "run")!r}), runtime=Runtime(torch.device("cpu")), workers=0, progress=Kill())
"""
    from tdpn_core.config.schema import to_dict

    (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    assert warm.run([sys.executable, "-c", child], env=environment).returncode == -signal.SIGKILL
    assert load_checkpoint(tmp_path / "run" / "last.pt").state.epoch == 1
    _train(config, tmp_path / "run", resume=True)
    assert _same(load_checkpoint(tmp_path / "run" / "last.pt"), undisturbed)


def test_sigterm_stops_with_the_code_of_a_resumable_run(config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(Stopped) as caught:
        _train(config, tmp_path / "run", progress=_StopAfter(1, signal.SIGTERM))
    assert caught.value.exit_code == 3


def test_a_request_that_comes_while_validating_stops_at_the_epochs_end(config: RunConfig, tmp_path: Path) -> None:
    class StopInValidation(Silent):
        def say(self, line: str) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match="saved after 1 epoch and 0 batches"):
        _train(config, tmp_path / "run", progress=StopInValidation())
    assert load_checkpoint(tmp_path / "run" / "last.pt").state.step == 3


@pytest.mark.parametrize(
    "settings",
    [
        {"train.optimiser": "sgd"},
        {"train.optimiser": "adamw"},
        {"train.ema": "0.9", "train.accumulate": "2", "train.balanced": "true", "train.label_smoothing": "0.1"},
    ],
)
def test_every_way_of_learning_resumes_exactly(
    prepared: Path, tiny: dict[str, str], tmp_path: Path, settings: dict[str, str]
) -> None:
    config = plan(prepared, runtime=CPU, recipe="small", overrides=TrainOverrides(settings={**tiny, **settings}))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    _train(config, whole)
    with pytest.raises(Stopped):
        _train(config, parts, progress=_StopAfter(2))
    _train(config, parts, resume=True)
    assert _same(load_checkpoint(whole / "last.pt"), load_checkpoint(parts / "last.pt"))


def test_a_run_that_gets_no_better_ends_early_and_is_finished(config: RunConfig, tmp_path: Path) -> None:
    listener = _Lines()
    still = replace(config.train, lr=1e-30, warmup_epochs=0.0, epochs=9, stop_after=1)
    stale = replace(config, train=still, sampling=replace(config.sampling, flip=0.0))
    result = _train(stale, tmp_path / "run", progress=listener)
    assert result.state.epoch < 9
    assert "no improvement for 1 epochs: stopping early" in listener.lines
    listener.lines.clear()
    assert _train(stale, tmp_path / "run", resume=True, progress=listener).state == result.state
    assert any("is finished" in line for line in listener.lines)


def test_resuming_a_finished_run_trains_nothing_and_keeps_its_result(config: RunConfig, tmp_path: Path) -> None:
    first = _train(config, tmp_path / "run")
    content = (tmp_path / "run" / "last.pt").read_bytes()
    assert _train(config, tmp_path / "run", resume=True).state == first.state
    assert (tmp_path / "run" / "last.pt").read_bytes() == content
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], status["epochs"], status["best_score"]) == ("finished", 2, first.state.best_score)


def test_resuming_with_other_settings_is_refused(config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        _train(config, tmp_path / "run", progress=_StopAfter(1))
    other = replace(config, train=replace(config.train, lr=1.0))
    before = (tmp_path / "run" / "config.json").read_text()
    with pytest.raises(ConfigError, match=r"written with another train.lr \(.*, not 1.0\) than this run's"):
        _train(other, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "config.json").read_text() == before


def test_data_that_changed_since_the_run_began_is_refused(config: RunConfig, tmp_path: Path) -> None:
    other = replace(config, data=replace(config.data, digest="0" * 64))
    with pytest.raises(ConfigError, match="prepared data has changed"):
        _train(other, tmp_path / "run")


def test_a_loss_that_is_not_finite_names_the_clips_and_saves_nothing(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def poisoned(clips: torch.Tensor, sampling: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return clips.float() * (float("nan") if calls == 2 else 0.01)

    monkeypatch.setattr(step, "normalise", poisoned)
    with pytest.raises(TrainingError, match="not finite at step 1") as caught:
        _train(config, tmp_path / "run")
    assert len(str(caught.value.where).split(",")) == config.train.batch_size
    assert not (tmp_path / "run" / "last.pt").exists()
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "failed"


def test_plateau_divides_the_rate_after_patience_epochs_without_a_better_validation(
    config: RunConfig, tmp_path: Path
) -> None:
    frozen = replace(config.train, schedule="plateau", patience=2, epochs=4, lr=1e-12, warmup_epochs=0.0)
    result = _train(replace(config, train=frozen), tmp_path / "run")
    assert [row["lr"] for row in result.state.history] == pytest.approx([1e-12, 1e-12, 1e-12, 1e-13])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_with_every_augmentation_resumes_bit_identical_whatever_the_workers(
    prepared: Path, tiny: dict[str, str], tmp_path: Path, workers: int
) -> None:
    augmented = {
        "sampling.crop": "jitter",
        "sampling.jitter": "36,48",
        "sampling.colour": "0.4,0.4,0.4,0.1",
        "sampling.randaugment": "2",
        "sampling.erasing": "0.5",
        "sampling.mixup": "0.2",
        "sampling.cutmix": "1.0",
    }
    config = plan(prepared, runtime=CPU, recipe="small", overrides=TrainOverrides(settings={**tiny, **augmented}))
    _train(config, tmp_path / "whole")
    with pytest.raises(Stopped):
        _train(config, tmp_path / "parts", progress=_StopAfter(4), workers=workers)
    _train(config, tmp_path / "parts", resume=True)
    whole, parts = (load_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "parts"))
    assert _same(whole, parts)
    rows = [[(row["loss"], row["top1"], row["val_loss"]) for row in run.state.history] for run in (whole, parts)]
    assert rows[0] == rows[1]


def test_each_augmentation_reaches_the_network(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = set()
    for number, change in enumerate(
        ({}, {"colour": (0.4, 0.0, 0.0, 0.0)}, {"randaugment": 2}, {"erasing": 1.0}, {"mixup": 1.0}, {"cutmix": 1.0})
    ):
        settings = replace(config, sampling=replace(config.sampling, **change), train=replace(config.train, epochs=1))
        losses.add(_train(settings, tmp_path / str(number)).state.history[0]["loss"])
    assert len(losses) == 6
