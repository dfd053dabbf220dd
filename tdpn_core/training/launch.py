"""Start or resume a run from the user's options: find the data, choose the recipe, apply overrides, train."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tdpn_core import defaults, recipes
from tdpn_core.checkpoint import find_data, load_checkpoint
from tdpn_core.config.families import find_family
from tdpn_core.config.overrides import NO_OVERRIDES, TrainOverrides
from tdpn_core.config.schema import RunConfig, from_dict
from tdpn_core.distributed.environment import has_launcher, restarts
from tdpn_core.distributed.exit_reports import restart_reason, save_run_folder, saved_run_folder
from tdpn_core.distributed.runtime import Runtime, join_ranks
from tdpn_core.errors import ConfigError, UsageError
from tdpn_core.progress import SILENT, Progress
from tdpn_core.recipes.auto_recipe import LIGHT, Facts
from tdpn_core.recipes.learning_rate import describe_rate
from tdpn_core.runs import LAST, claimed_new, claimed_run, new_name, newest_checkpoint
from tdpn_core.sampling.loader import loader_workers
from tdpn_core.shards import ClipStore, find_prepared
from tdpn_core.shards.data_config import data_config
from tdpn_core.signals import stop_before_training
from tdpn_core.training import trainer
from tdpn_core.training.checkpoints import differences, newest_good, on_data, states
from tdpn_core.training.data_stats import data_facts
from tdpn_core.training.start import describe_start, find_start
from tdpn_core.training.trainer import TrainResult
from tdpn_core.weights.zoo import DEFAULT, ZOO, is_here


def train(
    *,
    data: Path | None = None,
    out: Path | None = None,
    recipe: str | None = None,
    config_file: Path | None = None,
    gpus: int | None = None,
    workers: int | None = None,
    resume: bool | Path = False,
    ema: bool | None = None,
    keep: int = defaults.KEEP,
    timeout: float = defaults.TIMEOUT,
    track: Sequence[str] = (),
    overrides: TrainOverrides = NO_OVERRIDES,
    progress: Progress = SILENT,
) -> TrainResult:
    """Train a network on a prepared data set; start or resume a run. Implements `tdpn train`.

    If a launcher such as torchrun started this process as one of several, they train together; after a restart by the
    launcher they resume.

    Args:
        data: folder of the prepared data set; default: the only one under `data/`.
        out: folder of the run; default: a new one under `runs/`, or with `resume` the newest there.
        recipe: name of the recipe; None chooses by data set and device.
        config_file: `config.json` of a run, whose settings are used instead of a recipe.
        gpus: number of GPUs of this process, 0 for the CPU; None uses one if available.
        workers: number of processes that read clips; None chooses by machine.
        resume: continue the run in `out`, or that of the checkpoint at this path. A resumed run keeps its settings.
        ema: averaged or raw weights of another project's checkpoint that initialises the run; None uses those that the
            project evaluates.
        keep: checkpoints to keep.
        timeout: seconds without progress after which processes count as hung and are ended.
        track: names of additional trackers, `wandb` and `mlflow`.
        overrides: changes to the settings of the recipe.
        progress: receives a line about what is trained, and a progress bar.

    Returns:
        The folder, the best checkpoint and the history of the run.

    Raises:
        UsageError: no or several prepared data sets, an unknown recipe, unavailable GPUs, `out` contains a run,
            `ema` without initial weights.
        CheckpointError: the initial weights are missing, cannot be downloaded, or do not fit.
        InUseError: another process is training in that folder.
        ConfigError: an invalid setting, or one that differs from the resumed run's.
        Stopped: received SIGINT or SIGTERM; the run is saved and can be resumed.
        TrainingError, DistributedError: see `trainer.train`.
    """
    if overrides.model is not None:
        find_family(overrides.model)  # report a mistyped name first
    with join_ranks(gpus, timeout=timeout, say=progress.say) as runtime, ExitStack() as stack:
        progress = progress if runtime.is_main else SILENT
        with stop_before_training():
            if again := runtime.highest(restarts()):  # torch's launchers count restarts per machine
                out, resume = _restarted(runtime, again, out, resume, progress)
            checkpoint = start = None
            if resume:
                _check_ema(ema, None)
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
                        overrides=overrides,
                        progress=progress,
                    )
                )
                asked = _asks_start(config_file, overrides)
                config, start = find_start(config, asked=asked, progress=progress)
                _check_ema(ema, start if asked else None)
                name = new_name(config)
                folder = _claim(runtime, stack, lambda: _named(out, new=True) if out else claimed_new(name), progress)
            save_run_folder(folder)
            progress.say(describe(config, runtime, folder))
        return trainer.train(
            config,
            folder,
            runtime=runtime,
            workers=loader_workers(runtime.device_type) if workers is None else workers,
            resume=checkpoint or False,
            init=start,
            ema=ema,
            keep=keep,
            track=track,
            progress=progress,
        )


def _check_ema(ema: bool | None, start: Path | None) -> None:
    """Refuse to choose among the weights of a file (`start`) that the user did not name."""
    if ema is not None and start is None:
        what = "chooses among the weights in the file given with --init, which is missing"
        raise UsageError(what, where="--ema/--no-ema", hint="add --init FILE, or omit this option")


_Claim = AbstractContextManager[tuple[Path, bool]]
"""A claim on a folder: its path, and whether the claim is reliable."""


def _claim(runtime: Runtime, stack: ExitStack, choose: Callable[[], _Claim], progress: Progress) -> Path:
    """Return the run's folder, chosen by rank 0, which holds the claim on it until `stack` closes."""
    chosen = ""
    if runtime.is_main:
        folder, certain = stack.enter_context(choose())
        if not certain:
            progress.say(f"warning: {folder}: no locks on this file system, so a second run there is not prevented")
        chosen = str(folder)
    return Path(runtime.from_main(chosen))


@contextmanager
def _named(folder: Path, *, new: bool) -> Iterator[tuple[Path, bool]]:
    with claimed_run(folder, new=new) as certain:
        yield folder, certain


def _run_to_resume(out: Path | None, resume: bool | Path) -> Path:
    """Return the folder of the run to resume."""
    if out is not None:
        return out
    return resume.parent if isinstance(resume, Path) else newest_checkpoint(name=LAST).parent


def _restarted(
    runtime: Runtime, again: int, out: Path | None, resume: bool | Path, progress: Progress
) -> tuple[Path | None, bool | Path]:
    """Return the folder of a restarted run, and whether it left a checkpoint to resume from."""
    noted = next((Path(folder) for folder in runtime.gather(str(saved_run_folder() or "")) if folder), None)
    folder = out or noted
    if folder is None:
        what = "this run was restarted, but its folder is unknown"
        raise UsageError(what, where="--out", hint="give its folder, so that a restart finds it")
    left = bool(runtime.from_main(bool(states(folder))))
    why = restart_reason()
    reason = f" ({why})" if why else ""
    progress.say(f"restart {again}{reason}: {'resuming' if left else 'starting from scratch'} in {folder}")
    return folder, left or resume


def _to_resume(runtime: Runtime, folder: Path, resume: bool | Path, progress: Progress) -> Path:
    """Return the checkpoint to resume from; rank 0 chooses it for all."""
    if isinstance(resume, Path):
        return resume
    found = ""
    if runtime.is_main:
        found = str(newest_good(folder, progress.say))
    return Path(runtime.from_main(found))


def _must_be_found_again(out: Path | None) -> None:
    if out is None and not has_launcher() and int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0:
        what = "a run that torchrun may restart needs an explicit folder"
        raise UsageError(what, where="--out", hint="add --out, or torchrun --max-restarts 0")


def _asks_start(config_file: Path | None, overrides: TrainOverrides) -> bool:
    """Whether the user chose the weights to start from, here or in the run whose settings are used."""
    return config_file is not None or "train.init" in overrides.asked()


def plan(
    folder: Path,
    *,
    runtime: Runtime,
    recipe: str | None = None,
    overrides: TrainOverrides = NO_OVERRIDES,
    progress: Progress = SILENT,
) -> RunConfig:
    """Return the settings of a run on the prepared data in `folder`, from its recipe and the user's `overrides`.

    `progress` receives what the recipe derived from the data and why, and the consequences of overrides. Data packed as
    optical flow requires a network for flow. Normalisation follows the initial weights.

    Raises:
        UsageError, ConfigError: see `recipes.configure`.
        CheckpointError: there are no such weights.
    """
    data = data_config(folder)
    if overrides.modality is None:
        overrides = replace(overrides, modality=data.encoding.get("modality", "rgb"))
    name = recipe or recipes.choose(data)
    start = own_start(runtime.device_type, overrides)
    known = Facts(device=runtime.device_type, own_start=start.here, lacking=start.lacking)
    init = overrides.settings.get("train.init", overrides.init) or recipes.find(name)(data, known).train.init
    arch = overrides.settings.get("model.arch", overrides.arch)
    facts = data_facts(ClipStore(folder, "train"), runtime, init, arch)
    facts = replace(facts, own_start=start.here, lacking=start.lacking)
    config, notes = recipes.configure(name, data, facts, overrides)
    for note in notes:
        progress.say(note)
    return config


class OwnStart(NamedTuple):
    """Weights that a recipe starts from by itself: `Facts.own_start`, or `Facts.lacking` if they are not here."""

    here: str | None = None
    lacking: str | None = None


def own_start(device: str, overrides: TrainOverrides) -> OwnStart:
    """Return the weights for a kind of device; none if the user chose a network or weights.

    A GPU starts from the zoo's default network, which `tdpn predict` uses.
    """
    chosen = overrides.asked() & {"model.arch", "model.name", "model.width", "train.init"}
    modality = overrides.settings.get("model.modality", overrides.modality)
    if chosen or modality == "flow":
        return OwnStart()
    name = LIGHT if device == "cpu" else DEFAULT
    return OwnStart(here=name) if is_here(ZOO[name]) else OwnStart(lacking=name)


def again_as(
    path: Path, data: Path | None, *, recipe: str | None = None, overrides: TrainOverrides = NO_OVERRIDES
) -> RunConfig:
    """Return the settings in `path`, a run's `config.json`, with the user's `overrides`; on `data`, else its own.

    Raises:
        UsageError: a recipe was also requested, or there is no such file or data.
        ConfigError: the file is not a configuration, or the data has another modality.
    """
    if recipe is not None:
        raise UsageError("cannot be combined with a recipe", where="--config", hint="leave out --recipe or --config")
    try:
        stored = from_dict(RunConfig, json.loads(path.read_text()))
    except OSError as error:
        hint = "give the config.json in the folder of a run"
        raise UsageError(f"cannot be read: {error.strerror}", where=path, hint=hint) from error
    except ValueError as error:
        raise ConfigError(f"is not JSON: {error}", where=path) from error
    own = data_config(find_prepared(data or Path(find_data(stored.data, path).path)))
    packed = own.encoding.get("modality", "rgb")
    if packed != stored.model.modality:
        what = f"its network is for {stored.model.modality}, but the data is packed as {packed}"
        raise ConfigError(what, where=path, hint="give --data of the same modality")
    model = replace(stored.model, num_classes=recipes.class_counts(own))
    return recipes.adjust(replace(stored, model=model, data=own), overrides)


def describe(config: RunConfig, runtime: Runtime, folder: Path) -> str:
    """Describe the run in one line."""
    model, sampling, train = config.model, config.sampling, config.train
    frames = f"{model.num_frames}x{sampling.interval}" if sampling.mode == "dense" else f"{model.num_frames} segments"
    rate = describe_rate(train)
    return (
        f"{model.name} {model.arch}, {frames} at {model.input_size} pixels, on {config.data.dataset}; recipe "
        f"{config.recipe}: {train.epochs} epochs, batch {train.batch_size}, {rate}; {describe_start(config)}; "
        f"{runtime}; into {folder}"
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
            hint=f"omit these options to continue it, or start a new run; --init {last} starts from its weights",
        )
    return asked
