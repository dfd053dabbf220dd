"""Where runs are: one folder each under `runs/`, with `last.pt`, `best.pt`, `config.json`, `metrics.csv`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tdpn_core.claim import LOCK, claimed
from tdpn_core.config.schema import RunConfig
from tdpn_core.errors import CheckpointError, InUseError, UsageError

RUNS = Path("runs")
LAST, BEST = "last.pt", "best.pt"

CELL = "cell.json"
"""Marks the folder of an ablation's cell, which is no run of its own."""

_TRAINING = "training"


def new_name(config: RunConfig) -> Path:
    """The folder that a run gets if it is free: under `runs/`, named by data set, model and depth."""
    return RUNS / f"{config.data.dataset}-{config.model.name}-{config.model.arch}"


def is_run(folder: Path) -> bool:
    """Whether `folder` holds a run: a checkpoint of `tdpn train`, and not as the cell of an ablation."""
    return not (folder / CELL).exists() and any((folder / name).exists() for name in (LAST, BEST))


def free_folder(wanted: Path) -> Path:
    """`wanted`, or the first of `wanted-2`, `wanted-3`, ... that is free. Not created."""
    return next(_free(wanted))


@contextmanager
def claimed_new(wanted: Path) -> Iterator[tuple[Path, bool]]:
    """Hold the claim on the first of `wanted`, `wanted-2`, `wanted-3`, ... that is free and that no other run takes.

    Yields the folder, and whether the claim is certain (see `claimed`).
    """
    for folder in _free(wanted):
        with ExitStack() as stack:
            try:
                certain = stack.enter_context(claimed(folder, _TRAINING, hint="choose another --out"))
            except InUseError:
                continue
            if not _is_free(folder):  # another run began and ended here in the meantime
                continue
            yield folder, certain
            return


@contextmanager
def claimed_run(folder: Path, *, new: bool) -> Iterator[bool]:
    """Hold the claim on a run's folder; with `new` no run may be there yet. Yields whether the claim is certain.

    Raises:
        InUseError: another process trains here.
        UsageError: it holds a run already, and `new` was asked for.
    """
    hint = "choose another --out" if new else "wait until it ends, or stop it first"
    with claimed(folder, _TRAINING, hint=hint) as certain:
        if new and (folder / LAST).exists():
            raise UsageError(
                "already holds a run", where=folder, hint="add --resume to continue it, or choose another --out"
            )
        yield certain


def newest_checkpoint(root: Path = RUNS, name: str = BEST) -> Path:
    """The checkpoint of that name written last by a run (`is_run`) in any folder below `root`.

    Raises:
        CheckpointError: there is none.
    """
    found = [path for path in root.rglob(name) if is_run(path.parent)]
    if not found:
        raise CheckpointError(f"no {name} of a run under {root}/", hint="`tdpn train` writes one there")
    return max(found, key=lambda path: path.stat().st_mtime)


def _free(wanted: Path) -> Iterator[Path]:
    candidate, number = wanted, 1
    while True:
        if _is_free(candidate):
            yield candidate
        number += 1
        candidate = wanted.with_name(f"{wanted.name}-{number}")


def _is_free(folder: Path) -> bool:
    """Whether nothing is there, but perhaps the lock of a process that began no work."""
    if not folder.is_dir():
        return not folder.exists()
    return all(path.name == LOCK for path in folder.iterdir())
