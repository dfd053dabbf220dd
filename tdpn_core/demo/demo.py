"""The demo: render a data set of motions, then prepare, train, evaluate and predict as with own data."""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tdpn_core import defaults
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.demo.render import render_dataset
from tdpn_core.distributed.runtime import set_up
from tdpn_core.evaluation.evaluate import Evaluation, evaluate
from tdpn_core.evaluation.report import write_report
from tdpn_core.prediction import Prediction
from tdpn_core.prediction.predict import predict
from tdpn_core.prep import PrepConfig, PrepReport
from tdpn_core.prep.prepare import prepare
from tdpn_core.progress import SILENT, Progress
from tdpn_core.runs import free_folder
from tdpn_core.training.launch import train
from tdpn_core.training.trainer import TrainResult
from tdpn_core.video.encode_options import Encoding

SHORT_SIDE, SIZE = 72, 64
"""Short side of stored frames, and input size, in pixels: small, so that a laptop takes minutes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoResult:
    """Commands and results of the demo."""

    folder: Path
    commands: list[str]
    """Command line of each step, as a user would type it in `folder`."""

    prepared: PrepReport
    trained: TrainResult
    evaluation: Evaluation
    report: Path
    predicted: Prediction
    seconds: dict[str, float]
    """Seconds of each step."""


def run_demo(
    folder: Path,
    *,
    clips: int = defaults.DEMO_CLIPS,
    epochs: int = defaults.DEMO_EPOCHS,
    seed: int = defaults.SEED,
    gpus: int | None = None,
    progress: Progress = SILENT,
) -> DemoResult:
    """Run the entire toolkit on rendered clips below `folder`; each step calls the function behind its command.

    On another run in the same folder, existing clips and shards are reused, and a new run is trained.
    """
    clock = _Clock()
    runtime = set_up(gpus)
    videos, data, runs = folder / "videos", folder / "data", folder / "runs"
    with clock.time("render"):
        render_dataset(videos, train_per_class=clips, val_per_class=max(1, clips // 4), seed=seed, progress=progress)
    with clock.time("prep"):
        settings = PrepConfig(encoding=Encoding(short_side=SHORT_SIDE))
        prepared = prepare("folder", videos, data, settings=settings, progress=progress)
    with clock.time("train"):
        out = free_folder(runs / "demo")
        trained = train(
            data=data,
            out=out,
            recipe="small",
            gpus=gpus,
            overrides=TrainOverrides(size=SIZE, epochs=epochs, seed=seed),
            progress=progress,
        )
    with clock.time("eval"):
        evaluation = evaluate(trained.best, runtime=runtime, progress=progress)
        report = write_report(evaluation)
    with clock.time("predict"):
        clip = next(iter(sorted((videos / "val").rglob("*.mp4"))))
        (predicted,) = predict([clip], checkpoint=trained.best, runtime=runtime)
    device = [] if gpus is None else ["--gpus", gpus]
    run_settings = ["--recipe", "small", "--size", SIZE, "--epochs", epochs, "--seed", seed]
    commands = [
        _command("prep", "folder", "--root", videos, "--out", data, "--short-side", SHORT_SIDE),
        _command("train", "--data", data, "--out", free_folder(runs / "demo"), *run_settings, *device),
        _command("eval", trained.best, *device),
        _command("predict", clip, "--checkpoint", trained.best, *device),
    ]
    return DemoResult(
        folder=folder,
        commands=commands,
        prepared=prepared,
        trained=trained,
        evaluation=evaluation,
        report=report,
        predicted=predicted,
        seconds=clock.seconds,
    )


def _command(*words: object) -> str:
    return shlex.join(["tdpn", *map(str, words)])


class _Clock:
    """Measures the seconds of named steps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - began
