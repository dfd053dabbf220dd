"""From what a user asked for to a run: data found, recipe chosen, settings adjusted, folder named, training begun."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from tdpn_core import recipes
from tdpn_core.checkpoint import load_checkpoint
from tdpn_core.config import DataConfig, RunConfig
from tdpn_core.errors import ConfigError
from tdpn_core.progress import SILENT, Progress
from tdpn_core.runs import LAST, must_be_new, new_folder, newest_checkpoint
from tdpn_core.runtime import Runtime, set_up
from tdpn_core.sampling.loader import loader_workers
from tdpn_core.shards import ClipStore, find_prepared, load_manifest
from tdpn_core.train.loop import TrainResult, train
from tdpn_core.video.encoding import Encoding


def launch(
    *,
    data: Path | None = None,
    out: Path | None = None,
    recipe: str | None = None,
    gpus: int | None = None,
    workers: int | None = None,
    resume: bool = False,
    init: Path | None = None,
    progress: Progress = SILENT,
    **adjustments: Any,
) -> TrainResult:
    """Start a run, or with `resume` continue the one in `out` (the newest under `runs/` if None).

    `adjustments` are those of `recipes.adjust`. A resumed run keeps its settings: asking for others is an error.

    Raises:
        UsageError: no or several prepared data sets, an unknown recipe, GPUs that are not there, `out` holds a run.
        ConfigError: a setting that its field does not allow, or one that a resumed run does not have.
        Stopped, TrainingError: see `train`.
    """
    runtime = set_up(gpus)
    if resume:
        last = out / LAST if out else newest_checkpoint(name=LAST)
        config, folder = _stored(last, adjustments), last.parent
        progress.say(f"continuing {folder}")
    else:
        config = plan(find_prepared(data), runtime=runtime, recipe=recipe, **adjustments)
        folder = must_be_new(out) if out else new_folder(config)
    progress.say(describe(config, runtime, folder))
    return train(
        config,
        folder,
        runtime=runtime,
        workers=loader_workers(runtime.device_type) if workers is None else workers,
        resume=resume,
        init=init,
        progress=progress,
    )


def plan(folder: Path, *, runtime: Runtime, recipe: str | None = None, **adjustments: Any) -> RunConfig:
    """The settings of a run on the prepared data in `folder`, by its recipe and the user's `adjustments`."""
    data = data_config(folder)
    name = recipe or recipes.choose(data, on_gpu=runtime.device_type == "cuda")
    frames_per_clip = int(np.median(ClipStore(folder, "train").counts))
    return recipes.adjust(recipes.find(name)(data, frames_per_clip), **adjustments)


def data_config(folder: Path) -> DataConfig:
    """What a run remembers of its data."""
    manifest = load_manifest(folder)
    return DataConfig(
        path=str(folder),
        dataset=manifest.dataset,
        classes=manifest.classes,
        classes_digest=manifest.classes_digest,
        digest=manifest.digest,
        short_side=manifest.settings["short_side"],
        encoding={
            field.name: manifest.settings[field.name] for field in fields(Encoding) if field.name != "short_side"
        },
    )


def describe(config: RunConfig, runtime: Runtime, folder: Path) -> str:
    """What is about to be trained, in one line."""
    model, sampling, train = config.model, config.sampling, config.train
    frames = f"{model.num_frames}x{sampling.interval}" if sampling.mode == "dense" else f"{model.num_frames} segments"
    return (
        f"{model.name} {model.arch}, {frames} at {model.input_size} pixels, on {config.data.dataset}; recipe "
        f"{config.recipe}: {train.epochs} epochs, batch {train.batch_size}, lr {train.lr:g}; {runtime}; into {folder}"
    )


def _stored(last: Path, adjustments: dict[str, Any]) -> RunConfig:
    stored = load_checkpoint(last).config
    asked = recipes.adjust(stored, **adjustments)
    if asked != stored:
        differing = [
            f"{section}.{field}"
            for section, values in (("model", stored.model), ("sampling", stored.sampling), ("train", stored.train))
            for field in vars(values)
            if getattr(values, field) != getattr(getattr(asked, section), field)
        ]
        raise ConfigError(
            f"the run to resume has another {', '.join(differing)}",
            where=last.parent,
            hint="leave these options out to continue it, or start a new run without --resume",
        )
    return stored
