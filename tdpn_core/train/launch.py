"""From what a user asked for to a run: data found, recipe chosen, settings adjusted, folder named, training begun."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from tdpn_core import recipes
from tdpn_core.checkpoint import load_checkpoint
from tdpn_core.config import DataConfig, RunConfig
from tdpn_core.distributed.endings import VARIABLE, remember, remembered, why_restarted
from tdpn_core.distributed.place import restarts
from tdpn_core.errors import ConfigError, UsageError
from tdpn_core.progress import SILENT, Progress
from tdpn_core.rates import describe_rate
from tdpn_core.runs import LAST, must_be_new, new_folder, newest_checkpoint
from tdpn_core.runtime import SILENT_SECONDS, Runtime, joined
from tdpn_core.sampling.loader import loader_workers
from tdpn_core.shards import ClipStore, find_prepared, load_manifest
from tdpn_core.train.kept import KEEP, newest_good, states
from tdpn_core.train.look import look
from tdpn_core.train.loop import TrainResult, train
from tdpn_core.train.resume import differences, on_data
from tdpn_core.video.encoding import Encoding


def launch(
    *,
    data: Path | None = None,
    out: Path | None = None,
    recipe: str | None = None,
    gpus: int | None = None,
    workers: int | None = None,
    resume: bool | Path = False,
    init: Path | None = None,
    keep: int = KEEP,
    timeout: float = SILENT_SECONDS,
    track: Sequence[str] = (),
    progress: Progress = SILENT,
    **adjustments: Any,
) -> TrainResult:
    """Start a run, or with `resume` continue the one in `out` (the newest under `runs/` if None), or that of a file.

    `adjustments` are those of `recipes.adjust`. A resumed run keeps its settings: asking for others is an error. Where
    a launcher started this process among others, they train together; restarted by it, they go on where they were.

    Raises:
        UsageError: no or several prepared data sets, an unknown recipe, GPUs that are not there, `out` holds a run.
        ConfigError: a setting that its field does not allow, or one that a resumed run does not have.
        Stopped, TrainingError, DistributedError: see `train`.
    """
    with joined(gpus, timeout=timeout, say=progress.say) as runtime:
        progress = progress if runtime.is_main else SILENT
        if again := runtime.highest(restarts()):  # torch's launchers count those of their own machine
            out, resume = _restarted(runtime, again, out, resume, progress)
        if resume:
            checkpoint = _to_resume(runtime, out, resume, progress)
            config = _stored(checkpoint, data, adjustments)
            folder = out or checkpoint.parent
            progress.say(f"continuing {folder}")
        else:
            _must_be_found_again(out)
            checkpoint = None
            config = plan(
                find_prepared(data), runtime=runtime, recipe=recipe, init=init, progress=progress, **adjustments
            )
            folder = must_be_new(out) if out else Path(runtime.from_main(str(new_folder(config))))
        remember(folder)
        progress.say(describe(config, runtime, folder))
        return train(
            config,
            folder,
            runtime=runtime,
            workers=loader_workers(runtime.device_type) if workers is None else workers,
            resume=checkpoint or False,
            init=init,
            keep=keep,
            track=track,
            progress=progress,
        )


def _restarted(
    runtime: Runtime, again: int, out: Path | None, resume: bool | Path, progress: Progress
) -> tuple[Path | None, bool | Path]:
    """Where a run that was begun before lies, and whether it left anything to go on from."""
    noted = next((Path(folder) for folder in runtime.gather(str(remembered() or "")) if folder), None)
    folder = out or noted
    if folder is None:
        what = "this run was restarted, but not where it lies"
        raise UsageError(what, where="--out", hint="name its folder, so that a restart finds it")
    left = bool(runtime.from_main(bool(states(folder))))
    why = why_restarted()
    reason = f" ({why})" if why else ""
    progress.say(f"restart {again}{reason}: {'going on' if left else 'beginning anew'} in {folder}")
    return folder, left or resume


def _to_resume(runtime: Runtime, out: Path | None, resume: bool | Path, progress: Progress) -> Path:
    """The checkpoint to go on from: that of rank 0 for all."""
    if isinstance(resume, Path):
        return resume
    found = ""
    if runtime.is_main:
        found = str(newest_good(out or newest_checkpoint(name=LAST).parent, progress.say))
    return Path(runtime.from_main(found))


def _must_be_found_again(out: Path | None) -> None:
    if out is None and VARIABLE not in os.environ and int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0:
        what = "a run that torchrun may restart needs a folder of its own choice"
        raise UsageError(what, where="--out", hint="add --out, or torchrun --max-restarts 0")


def plan(
    folder: Path,
    *,
    runtime: Runtime,
    recipe: str | None = None,
    init: Path | None = None,
    progress: Progress = SILENT,
    **adjustments: Any,
) -> RunConfig:
    """The settings of a run on the prepared data in `folder`, by its recipe and the user's `adjustments`.

    `progress` hears what the recipe chose by the data and why, and what followed the adjustments. Data that is packed
    as optical flow makes a network over flow. Pixels are normalised as those were that the weights of `init` know.

    Raises:
        UsageError, ConfigError: see `recipes.configure`.
    """
    data = data_config(folder)
    if adjustments.get("modality") is None:
        adjustments["modality"] = data.encoding.get("modality", "rgb")
    facts = look(ClipStore(folder, "train"), runtime, init)
    config, notes = recipes.configure(recipe or recipes.choose(data), data, facts, **adjustments)
    for note in notes:
        progress.say(note)
    return config


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
    rate = describe_rate(train)
    return (
        f"{model.name} {model.arch}, {frames} at {model.input_size} pixels, on {config.data.dataset}; recipe "
        f"{config.recipe}: {train.epochs} epochs, batch {train.batch_size}, {rate}; {runtime}; into {folder}"
    )


def _stored(last: Path, data: Path | None, adjustments: dict[str, Any]) -> RunConfig:
    stored = load_checkpoint(last).config
    if data is not None:
        stored = on_data(stored, data_config(find_prepared(data)), last.parent)
    asked = recipes.adjust(stored, **adjustments)
    if differing := differences(stored, asked):
        raise ConfigError(
            f"the run to resume has another {', '.join(differing)}",
            where=last.parent,
            hint=f"leave these options out to continue it, or start a new run; --init {last} begins with its weights",
        )
    return asked
