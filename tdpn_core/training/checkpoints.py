"""Training checkpoints of a run: `last.pt` and its predecessors `last-1.pt`, `last-2.pt` and so on."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tdpn_core.checkpoint import Checkpoint, is_checkpoint, load_checkpoint, save_checkpoint
from tdpn_core.config.schema import DataConfig, RunConfig
from tdpn_core.errors import CheckpointError, ConfigError, TdpnError
from tdpn_core.files import TEMPORARY_PREFIX, atomic_path
from tdpn_core.model.base import Network
from tdpn_core.runs import LAST
from tdpn_core.shards.manifest import Manifest
from tdpn_core.weights.convert import import_weights
from tdpn_core.weights.open_checkpoint import check_own
from tdpn_core.weights.rename_rules import Report
from tdpn_core.weights.transfer import start_from, transfer


def save_last(folder: Path, checkpoint: Checkpoint, *, keep: int) -> None:
    """Write `last.pt`; rename its predecessors to `last-1.pt` and so on, `keep` files in all. One always exists.

    Raises:
        TdpnError: the disk is full or the folder cannot be written; existing checkpoints are unchanged.
    """
    last = folder / LAST
    try:
        for number in range(keep - 1, 1, -1):
            if _name(folder, number - 1).exists():
                _name(folder, number - 1).replace(_name(folder, number))
        if keep > 1 and last.exists():
            _second_name(last, _name(folder, 1))
    except OSError as error:
        raise TdpnError(f"cannot write: {error.strerror or error}", where=folder) from error
    save_checkpoint(last, checkpoint)
    for surplus in folder.glob("last-*.pt"):
        if surplus.stem.partition("-")[2].isdecimal() and int(surplus.stem.partition("-")[2]) >= keep:
            surplus.unlink(missing_ok=True)


def newest_good(folder: Path, say: Callable[[str], None]) -> Path:
    """Return the newest intact checkpoint in `folder`; report faults of newer ones to `say`.

    Raises:
        CheckpointError: there is none; the message has the fault of the newest.
    """
    faults: list[CheckpointError] = []
    for path in states(folder):
        try:
            load_checkpoint(path)
        except CheckpointError as error:
            faults.append(error)
            continue
        for fault in faults:
            say(f"warning: {fault.where}: {fault.what}; resuming from the older {path.name}")
        return path
    if faults:
        raise faults[0]
    raise CheckpointError("no training checkpoint here", where=folder, hint="start it without --resume")


def states(folder: Path) -> list[Path]:
    """Return the files that may hold a training checkpoint of the run in `folder`, newest first."""
    older = [path for path in folder.glob("last-*.pt") if path.stem.partition("-")[2].isdecimal()]
    older.sort(key=lambda path: int(path.stem.partition("-")[2]))
    return [path for path in (folder / LAST, *older) if path.exists()]


def _name(folder: Path, number: int) -> Path:
    return folder / f"last-{number}.pt"


def _second_name(path: Path, name: Path) -> None:
    """Link `name` to the file at `path`; copy it if the file system has no links."""
    if name.exists() and name.samefile(path):  # after a kill between this and the save; a rename would do nothing
        return
    temporary = name.with_name(f"{TEMPORARY_PREFIX}{name.name}")
    temporary.unlink(missing_ok=True)
    try:
        os.link(path, temporary)
    except OSError:
        with atomic_path(name) as copy:
            shutil.copyfile(path, copy)
    else:
        temporary.replace(name)


FREE = ("train.compile", "train.checkpointing", "data.path", "data.absolute")
"""Settings that may change on resuming: compilation (the machine may lack a compiler), activation checkpointing (it may
have less memory) and the data's path. With and without compilation, results differ in their last digits."""


def differences(one: RunConfig, other: RunConfig) -> list[str]:
    """Return the settings in which `one` and `other` differ, with both values if they are short."""
    found = []
    for section in dataclasses.fields(RunConfig):
        mine, yours = getattr(one, section.name), getattr(other, section.name)
        if not dataclasses.is_dataclass(mine):
            found += [(section.name, mine, yours)]
            continue
        other_family = section.name == "model" and one.model.name != other.model.name  # with different fields
        for field in [field for field in dataclasses.fields(mine) if not other_family or field.name == "name"]:
            found.append((f"{section.name}.{field.name}", getattr(mine, field.name), getattr(yours, field.name)))
    return [_named(name, mine, yours) for name, mine, yours in found if mine != yours and name not in FREE]


def on_data(stored: RunConfig, data: DataConfig, run: Path) -> RunConfig:
    """Return `stored`, the settings of the run in `run`, for its own data at another path.

    Raises:
        ConfigError: it is different data.
    """
    if data.digest != stored.data.digest:
        same = data.classes_digest == stored.data.classes_digest
        other = "other clips of the same classes" if same else f"{_counts(stored.data)} classes, not {_counts(data)}"
        raise ConfigError(
            f"the run to resume was trained on other data ({other})",
            where=run,
            hint=f"omit --data to continue with {stored.data.path}, or start a new run with --init from this one",
        )
    return replace(stored, data=replace(stored.data, path=data.path, absolute=data.absolute))


def _counts(data: DataConfig) -> str:
    return " and ".join(f"{len(names)} {head}" for head, names in data.classes.items())


def _named(name: str, mine: object, yours: object) -> str:
    values = f"{mine}, not {yours}"
    return f"{name} ({values})" if len(values) < 40 else name


def initialise(model: Network, path: Path, manifest: Manifest | None = None, *, ema: bool | None = None) -> Report:
    """Fill `model` with the matching weights of `path`; returns a report to show.

    `path` is a tdpn checkpoint of any network, or one of another project (`tdpn_core.weights`). Classifier rows are
    copied by class name, using `manifest` for the model's names; without it, none are copied. `ema` chooses between raw
    and averaged weights of another project's file, as in `read_weights`.

    Raises:
        CheckpointError: the file is unreadable, of an unknown project or another depth, or nothing in it fits.
        UsageError: `ema` for a tdpn checkpoint.
    """
    if not path.is_file():
        raise CheckpointError("no such checkpoint", where=path)
    if is_checkpoint(path):
        check_own(ema)
        checkpoint = load_checkpoint(path)
        known, wanted = checkpoint.config.data.classes, manifest.classes if manifest else {}
        return transfer(model, checkpoint.weights, str(path), known=known, wanted=wanted)
    return start_from(model, import_weights(path, ema=ema), manifest)
