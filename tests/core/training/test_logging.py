"""What is left of a run beside its checkpoints: curves, a page, and what trackers hear."""

import importlib.util
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import warm

from tdpn_core import recipes
from tdpn_core.checkpoint import TrainingState
from tdpn_core.config.schema import DataConfig
from tdpn_core.errors import Stopped, UsageError
from tdpn_core.progress import Silent
from tdpn_core.training import logging as display
from tdpn_core.training import trackers as tracking
from tdpn_core.training.logging import STEPS, Record
from tdpn_core.training.summary import best_row, chance, curves, page

DATA = DataConfig(
    path="data/x",
    dataset="folder",
    classes={"action": ["a", "b", "c", "d"]},
    classes_digest="c",
    digest="d",
    short_side=36,
)
CONFIG = recipes.small(DATA)
ROW = {
    "epoch": 1.0,
    "step": 3.0,
    "lr": 0.1,
    "loss": 1.5,
    "top1": 0.25,
    "val_loss": 1.25,
    "val_top1": 0.5,
    "seconds": 61.0,
}
STATE = TrainingState(epoch=2, step=6, history=[ROW, ROW | {"epoch": 2.0, "val_loss": 1.0}], best_score=0.5, running={})


class Fake:
    """A tracker that remembers what it heard."""

    heard: ClassVar[list[Any]] = []

    def begin(self, folder: Path, settings: dict[str, Any], known: str | None) -> str:
        self.heard.append(("begin", folder.name, settings["train"]["lr"], known))
        return known or "run-7"

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.heard.append((dict(values), step))

    def end(self, ending: str) -> None:
        self.heard.append(ending)


class Failing(Fake):
    """One whose service is gone."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        raise ConnectionError("no route to host")


class Listener(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    Fake.heard = []
    monkeypatch.setitem(tracking.TRACKERS, "fake", (Fake, "json"))
    monkeypatch.setitem(tracking.TRACKERS, "failing", (Failing, "json"))
    monkeypatch.setitem(tracking.TRACKERS, "absent", (Fake, "no_such_module"))


def test_a_tracker_hears_settings_steps_epochs_and_the_end_and_is_found_again(tmp_path: Path) -> None:
    record = Record(tmp_path / "run", CONFIG, track=["fake", "fake"])
    with record.running(TrainingState()):
        for step in (STEPS - 1, STEPS):
            record.step(TrainingState(step=step), {"loss": 2.0})
        record.epoch(STATE)
    row = {name: value for name, value in STATE.history[-1].items() if name not in ("epoch", "step")}
    assert Fake.heard == [("begin", "run", 0.002, None), ({"step/loss": 2.0}, STEPS), (row, 6), "finished"]
    Fake.heard.clear()
    with pytest.raises(Stopped), Record(tmp_path / "run", CONFIG).running(STATE):
        raise Stopped("asked to")
    assert Fake.heard == [("begin", "run", 0.002, "run-7"), "stopped"]


def test_a_tracker_that_fails_is_left_out_and_the_run_goes_on(tmp_path: Path) -> None:
    listener = Listener()
    record = Record(tmp_path, CONFIG, track=["failing", "fake"], progress=listener)
    with record.running(TrainingState()):
        record.epoch(STATE)
        record.epoch(STATE)
    assert listener.lines[0] == "failing is no longer updated: no route to host"
    assert len(listener.lines) == 2  # the other one is the summary's
    assert Fake.heard.count("finished") == 1


@pytest.mark.parametrize("instead", ["nothing", "a file"])
def test_a_folder_of_curves_that_vanishes_is_said_once_and_the_run_goes_on(tmp_path: Path, instead: str) -> None:
    listener = Listener()
    record = Record(tmp_path, CONFIG, progress=listener)
    with record.running(TrainingState()):
        record.epoch(STATE)
        shutil.rmtree(tmp_path / "tensorboard")
        if instead == "a file":
            (tmp_path / "tensorboard").touch()
        for _ in range(3):
            record.epoch(STATE)
    assert json.loads((tmp_path / "status.json").read_text())["state"] == "finished"
    assert len(listener.lines) == 2, listener.lines
    assert re.match(r"tensorboard is no longer updated: .*(No such file|Not a dir)", listener.lines[0])


def test_what_cannot_be_written_for_people_is_said_once_and_tried_again(tmp_path: Path) -> None:
    listener = Listener()
    in_the_way = [tmp_path / name for name in ("metrics.csv", "status.json", "summary.html")]
    record = Record(tmp_path, CONFIG, progress=listener)
    with record.running(TrainingState()):
        for path in in_the_way:
            path.unlink(missing_ok=True)
            path.mkdir()
        record.epoch(STATE)
        record.epoch(STATE)
        in_the_way[0].rmdir()
        record.epoch(STATE)
    first, *rows = (tmp_path / "metrics.csv").read_text().splitlines()
    assert first.startswith("epoch,step,")
    assert [row.split(",")[0] for row in rows] == [str(number + 1) for number in range(len(rows))], "whole numbers"
    assert listener.lines == [
        f"warning: {path}: cannot write: Is a directory; the run continues" for path in in_the_way
    ]


def test_a_failing_end_of_the_record_does_not_hide_why_a_run_failed(tmp_path: Path) -> None:
    def fail() -> None:
        (tmp_path / "status.json").unlink()
        (tmp_path / "status.json").mkdir()
        raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"), Record(tmp_path, CONFIG).running(TrainingState()):
        fail()


def test_tensorboard_reads_what_a_run_and_its_continuation_left(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for number in (1, 2):
        record = Record(tmp_path, CONFIG)
        with record.running(STATE):
            record.step(TrainingState(step=number * STEPS), {"loss": number / 8})
            record.epoch(replace(STATE, step=number * STEPS))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(point.step, point.value) for point in events.Scalars("step/loss")] == [(20, 0.125), (40, 0.25)]
    assert [(point.step, point.value) for point in events.Scalars("val_top1")] == [(20, 0.5), (40, 0.5)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tensorbord", r"--track: no tracker 'tensorbord'; one of wandb, mlflow"),
        ("absent", r"--track: no_such_module is not installed; pip install 'tdpn\[absent\]'"),
    ],
)
def test_a_tracker_that_is_not_there_is_refused_before_anything_is_written(
    name: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        Record(tmp_path / "run", CONFIG, track=[name])
    assert not (tmp_path / "run").exists()


FOLLOWED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_record import CONFIG, STATE, Listener
from tdpn_core.checkpoint import TrainingState
from tdpn_core.training.logging import Record
for state, names in ((TrainingState(), {names!r}), (STATE, [])):
    listener = Listener()
    record = Record(Path({folder!r}), CONFIG, track=names, progress=listener)
    with record.running(state):
        record.epoch(STATE)
    assert len(listener.lines) == 1, listener.lines  # the summary's
"""


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run and its continuation, in a process of its own, without a network, with the trackers that are installed."""
    names = [name for name in ("wandb", "mlflow") if importlib.util.find_spec(name)]
    folder = tmp_path_factory.mktemp("followed")
    code = FOLLOWED.format(tests=str(Path(__file__).parent), folder=str(folder / "run"), names=names)
    offline = {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    store = {"MLFLOW_TRACKING_URI": (folder / "store").as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true"}
    variables = {**os.environ, **offline, **store}
    result = warm.run([sys.executable, "-c", code], env=variables)
    assert result.returncode == 0, result.stderr
    return folder


def _number(folder: Path, name: str) -> str:
    number: str = json.loads((folder / "run" / "tracking.json").read_text())[name]
    return number


@pytest.mark.skipif(not importlib.util.find_spec("wandb"), reason="needs wandb")
def test_weights_and_biases_follows_a_run_offline(followed: Path) -> None:
    number = _number(followed, "wandb")
    written = list((followed / "run" / "wandb").glob(f"offline-run-*-{number}/run-{number}.wandb"))
    assert written
    assert b"val_top1" in b"".join(file.read_bytes() for file in written)


@pytest.mark.skipif(not importlib.util.find_spec("mlflow"), reason="needs mlflow")
def test_mlflow_follows_a_run_and_its_continuation_as_one(followed: Path) -> None:
    (run,) = (followed / "store").glob(f"*/{_number(followed, 'mlflow')}")
    assert [line.split()[1:] for line in (run / "metrics" / "val_top1").read_text().splitlines()] == [["0.5", "6"]] * 2
    assert (run / "params" / "train.lr").read_text() == "0.002"
    assert re.search(r"status: '?(3|FINISHED)", (run / "meta.yaml").read_text())


def test_the_curves_are_a_picture_of_every_epoch() -> None:
    assert curves(STATE.history).startswith(b"\x89PNG")
    assert len(curves(STATE.history)) > 10_000
    assert curves([{"epoch": 1.0, "loss": 1.0, "top1": 0.5, "lr": 0.1}]).startswith(b"\x89PNG")


def test_the_page_says_what_came_out_against_chance_and_on_which_clips(tmp_path: Path) -> None:
    assert best_row(STATE.history)["epoch"] == 2  # equal top-1: the lower loss
    assert chance(replace(CONFIG, model=replace(CONFIG.model, num_classes={"verb": 2, "noun": 4}))) == 0.375
    text = page("my run", CONFIG, STATE)
    assert "<h1>my run</h1>" in text
    for shown in ("50.0%", "epoch 2", "25.0%", "2 of 30", "2 min", "chosen on the same validation clips", "train.lr"):
        assert shown in text
    assert "averaged weights" not in text
    averaged = replace(CONFIG, train=replace(CONFIG.train, ema=0.9))
    assert "The averaged weights were validated." in page("x", averaged, STATE)
    unvalidated = replace(STATE, history=[{"epoch": 1.0, "loss": 1.0, "top1": 0.5, "lr": 0.1}])
    assert "No validation clip has a label" in page("x", CONFIG, unvalidated)


def test_a_run_leaves_both_unless_it_failed_or_nothing_was_finished(tmp_path: Path) -> None:
    def left(folder: Path, state: TrainingState, error: Exception | None) -> list[str]:
        with suppress(Stopped, ValueError), Record(folder, CONFIG).running(state):
            if error:
                raise error
        return sorted(path.name for path in folder.iterdir() if path.suffix in (".png", ".html"))

    both = ["curves.png", "summary.html"]
    assert left(tmp_path / "1", STATE, None) == both
    assert left(tmp_path / "2", STATE, Stopped("asked to")) == both
    assert left(tmp_path / "3", STATE, ValueError("a fault")) == []
    assert left(tmp_path / "4", TrainingState(), None) == []


def test_the_fields_beside_the_bar() -> None:
    running = {"loss": 12.0, "correct": 3.0, "clips": 8.0, "seconds": 4.0, "waiting": 0.2}
    state = TrainingState(epoch=1, batch=2, step=12, running=running)
    fields = display.shown(state, lr=0.0123, steps=112, device=torch.device("cpu"))
    assert float(fields.pop("memory").removesuffix(" GiB")) > 0
    assert fields == {
        "loss": "loss 1.500",
        "top1": "top-1 37.5%",
        "lr": "lr 0.012",
        "speed": "2.0 clips/s",
        "waiting": "waiting for data 5%",
        "left": "3 min left",
    }


@pytest.mark.parametrize(
    ("seconds", "waiting", "batches", "workers", "expected"),
    [
        (100.0, 9.9, 50, 1, None),
        (29.0, 9.0, 50, 1, None),
        (100.0, 50.0, 9, 1, None),
        (100.0, 23.0, 50, 1, r"waiting for data 23% of the time: more --workers may help \(1 of 8 cores now\)"),
        (100.0, 23.0, 50, 7, "prepare the clips with a smaller --short-side"),
    ],
)
def test_slow_data_gets_one_line_of_advice(
    seconds: float, waiting: float, batches: int, workers: int, expected: str | None
) -> None:
    line = display.advice({"seconds": seconds, "waiting": waiting}, batches, workers=workers, cores=8)
    assert line is None if expected is None else re.search(expected, line or "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.4, "3 s"), (89.0, "89 s"), (91.0, "2 min"), (3599.0, "1 h 00 min"), (11100.0, "3 h 05 min")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert display.duration(seconds) == text
