"""From what a user asked for to a run: data found, recipe chosen, settings adjusted, folder named, training begun."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import fields, replace
from pathlib import Path

from tdpn_core import defaults, recipes
from tdpn_core.checkpoint import find_data, load_checkpoint
from tdpn_core.config.families import find_family
from tdpn_core.config.overrides import NO_OVERRIDES, TrainOverrides
from tdpn_core.config.schema import DataConfig, RunConfig, from_dict
from tdpn_core.distributed.environment import restarts
from tdpn_core.distributed.exit_reports import VARIABLE, remember, remembered, why_restarted
from tdpn_core.distributed.runtime import Runtime, joined
from tdpn_core.errors import ConfigError, UsageError
from tdpn_core.progress import SILENT, Progress
from tdpn_core.recipes.learning_rate import describe_rate
from tdpn_core.runs import LAST, claimed_new, claimed_run, new_name, newest_checkpoint
from tdpn_core.sampling.loader import loader_workers
from tdpn_core.shards import ClipStore, find_prepared, load_manifest
from tdpn_core.signals import stop_before_training
from tdpn_core.training import trainer
from tdpn_core.training.checkpoints import differences, newest_good, on_data, states
from tdpn_core.training.data_stats import look
from tdpn_core.training.trainer import TrainResult
from tdpn_core.video.encode_options import Encoding


def train(
    *,
    data: Path | None = None,
    out: Path | None = None,
    recipe: str | None = None,
    config_file: Path | None = None,
    gpus: int | None = None,
    workers: int | None = None,
    resume: bool | Path = False,
    init: Path | None = None,
    ema: bool | None = None,
    keep: int = defaults.KEEP,
    timeout: float = defaults.TIMEOUT,
    track: Sequence[str] = (),
    overrides: TrainOverrides = NO_OVERRIDES,
    progress: Progress = SILENT,
) -> TrainResult:
    """Train a network on a prepared data set: start a run, or continue one. What `tdpn train` does.

    Where a launcher such as torchrun started this process among others, they train together; restarted by it, they
    continue.

    Args:
        data: folder of the prepared data set; None: the only one under `data/`.
        out: folder of the run; None: a new one under `runs/`, or with `resume` the newest there.
        recipe: name of the preset; None: by data set and device.
        config_file: `config.json` of a run, whose settings take the place of a recipe.
        gpus: GPUs of this process, 0 for the CPU; None: one where there is one.
        workers: processes that read clips; None: by machine.
        resume: continue the run in `out`, or that of the checkpoint at this path. A resumed run keeps its settings.
        init: weights to start from, a checkpoint of ours or of another project, or `imagenet`.
        ema: averaged or raw weights of another project's checkpoint; None: those that the project evaluates.
        keep: checkpoints to keep.
        timeout: seconds without progress after which hung processes are ended.
        track: `wandb` and `mlflow` also follow the run.
        overrides: changes to the settings of the recipe.
        progress: gets a line about what is trained, and a bar of the steps.

    Returns:
        The folder, the best checkpoint and the history of the run.

    Raises:
        UsageError: no or several prepared data sets, an unknown recipe, GPUs that are not there, `out` holds a run,
            `ema` without `init`.
        InUseError: another process trains in that folder at this moment.
        ConfigError: a setting that its field does not allow, or one that a resumed run does not have.
        Stopped: SIGINT or SIGTERM came; the run is saved and can be resumed.
        TrainingError, DistributedError: see `trainer.train`.
    """
    if overrides.model is not None:
        find_family(overrides.model)  # a mistyped name is the first thing to say
    if ema is not None and init is None:
        what = "chooses among the weights of the file of --init, and none is given"
        raise UsageError(what, where="--ema/--no-ema", hint="add --init FILE, or leave it out")
    with joined(gpus, timeout=timeout, say=progress.say) as runtime, ExitStack() as stack:
        progress = progress if runtime.is_main else SILENT
        with stop_before_training():
            if again := runtime.highest(restarts()):  # torch's launchers count those of their own machine
                out, resume = _restarted(runtime, again, out, resume, progress)
            checkpoint = None
            if resume:
                folder = _claim(runtime, stack, lambda: _named(_run_to_resume(out, resume), new=False), progress)
                checkpoint = _to_resume(runtime, folder, resume, progress)
                config = _stored(checkpoint, data, overrides)
                progress.say(f"continuing {folder}")
            else:
                _must_be_found_again(out)
                config = (
                    again_as(config_file, data, recipe=recipe, overrides=overrides)
                    if config_file
                    else plan(
                        find_prepared(data),
                        runtime=runtime,
                        recipe=recipe,
                        init=init,
                        overrides=overrides,
                        progress=progress,
                    )
                )
                name = new_name(config)
                folder = _claim(runtime, stack, lambda: _named(out, new=True) if out else claimed_new(name), progress)
            remember(folder)
            progress.say(describe(config, runtime, folder))
        return trainer.train(
            config,
            folder,
            runtime=runtime,
            workers=loader_workers(runtime.device_type) if workers is None else workers,
            resume=checkpoint or False,
            init=init,
            ema=ema,
            keep=keep,
            track=track,
            progress=progress,
        )


_Claim = AbstractContextManager[tuple[Path, bool]]
"""A claim on a folder: which one it is, and whether the claim is certain."""


def _claim(runtime: Runtime, stack: ExitStack, choose: Callable[[], _Claim], progress: Progress) -> Path:
    """The run's folder, which rank 0 chooses and holds the claim on until `stack` closes."""
    chosen = ""
    if runtime.is_main:
        folder, certain = stack.enter_context(choose())
        if not certain:
            progress.say(f"warning: {folder}: no locks on this file system, so nothing keeps a second run out of it")
        chosen = str(folder)
    return Path(runtime.from_main(chosen))


@contextmanager
def _named(folder: Path, *, new: bool) -> Iterator[tuple[Path, bool]]:
    with claimed_run(folder, new=new) as certain:
        yield folder, certain


def _run_to_resume(out: Path | None, resume: bool | Path) -> Path:
    """The folder of the run that is to be continued."""
    if out is not None:
        return out
    return resume.parent if isinstance(resume, Path) else newest_checkpoint(name=LAST).parent


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
    progress.say(f"restart {again}{reason}: {'going on' if left else 'starting over'} in {folder}")
    return folder, left or resume


def _to_resume(runtime: Runtime, folder: Path, resume: bool | Path, progress: Progress) -> Path:
    """The checkpoint to go on from: that of rank 0 for all."""
    if isinstance(resume, Path):
        return resume
    found = ""
    if runtime.is_main:
        found = str(newest_good(folder, progress.say))
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
    overrides: TrainOverrides = NO_OVERRIDES,
    progress: Progress = SILENT,
) -> RunConfig:
    """The settings of a run on the prepared data in `folder`, by its recipe and the user's `overrides`.

    `progress` hears what the recipe chose by the data and why, and what followed the overrides. Data that is packed
    as optical flow makes a network over flow. Pixels are normalised as those were that the weights of `init` know.

    Raises:
        UsageError, ConfigError: see `recipes.configure`.
    """
    data = data_config(folder)
    if overrides.modality is None:
        overrides = replace(overrides, modality=data.encoding.get("modality", "rgb"))
    facts = look(ClipStore(folder, "train"), runtime, init, overrides.settings.get("model.arch", overrides.arch))
    config, notes = recipes.configure(recipe or recipes.choose(data), data, facts, overrides)
    for note in notes:
        progress.say(note)
    return config


def again_as(
    path: Path, data: Path | None, *, recipe: str | None = None, overrides: TrainOverrides = NO_OVERRIDES
) -> RunConfig:
    """The settings in `path`, the `config.json` of a run, with the user's `overrides`; on `data`, else on its own.

    Raises:
        UsageError: a recipe was asked for, too, or there is no such file or data.
        ConfigError: the file is no configuration, or the data is packed for another modality.
    """
    if recipe is not None:
        raise UsageError("a recipe and the settings of a run", where="--config", hint="leave out --recipe or --config")
    try:
        stored = from_dict(RunConfig, json.loads(path.read_text()))
    except OSError as error:
        hint = "name the config.json in the folder of a run"
        raise UsageError(f"cannot be read: {error.strerror}", where=path, hint=hint) from error
    except ValueError as error:
        raise ConfigError(f"is not JSON: {error}", where=path) from error
    own = data_config(find_prepared(data or Path(find_data(stored.data, path).path)))
    packed = own.encoding.get("modality", "rgb")
    if packed != stored.model.modality:
        what = f"its network is for {stored.model.modality}, but the data is packed as {packed}"
        raise ConfigError(what, where=path, hint="give --data that is packed alike")
    model = replace(stored.model, num_classes=recipes.class_counts(own))
    return recipes.adjust(replace(stored, model=model, data=own), overrides)


def data_config(folder: Path) -> DataConfig:
    """What a run remembers of its data."""
    manifest = load_manifest(folder)
    return DataConfig(
        path=str(folder),
        absolute=str(folder.absolute()),
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


def _stored(last: Path, data: Path | None, overrides: TrainOverrides) -> RunConfig:
    stored = load_checkpoint(last).config
    if data is not None:
        stored = on_data(stored, data_config(find_prepared(data)), last.parent)
    asked = recipes.adjust(stored, overrides)
    if differing := differences(stored, asked):
        raise ConfigError(
            f"the run to resume has another {', '.join(differing)}",
            where=last.parent,
            hint=f"leave these options out to continue it, or start a new run; --init {last} begins with its weights",
        )
    return asked
