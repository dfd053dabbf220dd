"""Which states of a run are kept: `last.pt`, and those that were it before, `last-1.pt`, `last-2.pt` and so on."""

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
from tdpn_core.weights.download import imagenet
from tdpn_core.weights.open_checkpoint import check_own
from tdpn_core.weights.rename_rules import Report
from tdpn_core.weights.transfer import start_from, transfer


def save_last(folder: Path, checkpoint: Checkpoint, *, keep: int) -> None:
    """Write `last.pt`; what it was becomes `last-1.pt`, and so on, `keep` files in all. There is one at every moment.

    Raises:
        TdpnError: the disk is full or the folder cannot be written; all that was there still is.
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
    """The newest state in `folder` that is whole; `say` hears what is wrong with newer ones.

    Raises:
        CheckpointError: there is none; what is wrong with the newest.
    """
    faults: list[CheckpointError] = []
    for path in states(folder):
        try:
            load_checkpoint(path)
        except CheckpointError as error:
            faults.append(error)
            continue
        for fault in faults:
            say(f"warning: {fault.where}: {fault.what}; going on from {path.name}, which is older")
        return path
    if faults:
        raise faults[0]
    raise CheckpointError("no state of a run here", where=folder, hint="start it without --resume")


def states(folder: Path) -> list[Path]:
    """The files that may hold a state of the run in `folder`, newest first."""
    older = [path for path in folder.glob("last-*.pt") if path.stem.partition("-")[2].isdecimal()]
    older.sort(key=lambda path: int(path.stem.partition("-")[2]))
    return [path for path in (folder / LAST, *older) if path.exists()]


def _name(folder: Path, number: int) -> Path:
    return folder / f"last-{number}.pt"


def _second_name(path: Path, name: Path) -> None:
    """Let `name` be the file at `path`, too; a copy where the file system knows no links."""
    if name.exists() and name.samefile(path):  # after a kill between this and the save; renaming would do nothing
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
"""May change on the way: a machine without a compiler goes on with a compiled run, one that is short of memory saves
some, and data is moved. Compiled or not, results differ in their last digits."""


def differences(one: RunConfig, other: RunConfig) -> list[str]:
    """The settings that make two runs of `one` and `other`, with both values where they are short."""
    found = []
    for section in dataclasses.fields(RunConfig):
        mine, yours = getattr(one, section.name), getattr(other, section.name)
        if not dataclasses.is_dataclass(mine):
            found += [(section.name, mine, yours)]
            continue
        other_family = section.name == "model" and one.model.name != other.model.name  # which has fields of its own
        for field in [field for field in dataclasses.fields(mine) if not other_family or field.name == "name"]:
            found.append((f"{section.name}.{field.name}", getattr(mine, field.name), getattr(yours, field.name)))
    return [_named(name, mine, yours) for name, mine, yours in found if mine != yours and name not in FREE]


def on_data(stored: RunConfig, data: DataConfig, run: Path) -> RunConfig:
    """`stored`, the settings of the run in `run`, on its own data at another place.

    Raises:
        ConfigError: it is other data.
    """
    if data.digest != stored.data.digest:
        same = data.classes_digest == stored.data.classes_digest
        other = "other clips of the same classes" if same else f"{_counts(stored.data)} classes, not {_counts(data)}"
        raise ConfigError(
            f"the run to resume was trained on other data ({other})",
            where=run,
            hint=f"leave --data out to go on with {stored.data.path}, or begin a new run with --init from this one",
        )
    return replace(stored, data=replace(stored.data, path=data.path, absolute=data.absolute))


def _counts(data: DataConfig) -> str:
    return " and ".join(f"{len(names)} {head}" for head, names in data.classes.items())


def _named(name: str, mine: object, yours: object) -> str:
    values = f"{mine}, not {yours}"
    return f"{name} ({values})" if len(values) < 40 else name


IMAGENET = Path("imagenet")
"""In the place of a file: an image network of the depth."""


def initialise(model: Network, path: Path, manifest: Manifest | None = None, *, ema: bool | None = None) -> Report:
    """Fill `model` from `path` with what fits; gives the account, to be shown.

    `path` is a checkpoint of any of our networks, one of another project (`tdpn_core.weights`), or `IMAGENET`. Rows of
    its classifiers are taken by the names of classes, of which `manifest` has the model's; without it none are. `ema`
    chooses between raw and averaged weights of another project's file, as in `read_weights`.

    Raises:
        CheckpointError: unreadable, of an unknown project, of another depth, or nothing in it fits.
        UsageError: `ema` for a checkpoint of ours.
    """
    if path == IMAGENET and not path.exists():
        return start_from(model, import_weights(imagenet(model.config.arch), ema=ema))
    if not path.is_file():
        raise CheckpointError("no such checkpoint", where=path)
    if is_checkpoint(path):
        check_own(ema)
        checkpoint = load_checkpoint(path)
        known, wanted = checkpoint.config.data.classes, manifest.classes if manifest else {}
        return transfer(model, checkpoint.weights, str(path), known=known, wanted=wanted)
    return start_from(model, import_weights(path, ema=ema), manifest)
