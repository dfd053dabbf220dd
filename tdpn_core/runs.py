"""Folders of runs: one each under `runs/`, with `last.pt`, `best.pt`, `config.json`, `metrics.csv`."""

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
"""Marks the folder of an ablation's cell, which is not a run of its own."""

_TRAINING = "training"


def new_name(config: RunConfig) -> Path:
    """Return the default folder of a run: under `runs/`, named by data set, model and depth."""
    return RUNS / f"{config.data.dataset}-{config.model.name}-{config.model.arch}"


def is_run(folder: Path) -> bool:
    """Return whether `folder` contains a run of `tdpn train` that is not a cell of an ablation."""
    return not (folder / CELL).exists() and any((folder / name).exists() for name in (LAST, BEST))


def free_folder(wanted: Path) -> Path:
    """Return `wanted`, or the first of `wanted-2`, `wanted-3`, ... that is free. It is not created."""
    return next(_free(wanted))


@contextmanager
def claimed_new(wanted: Path) -> Iterator[tuple[Path, bool]]:
    """Hold the claim on the first of `wanted`, `wanted-2`, `wanted-3`, ... that is free and not claimed.

    Yields the folder, and whether the claim is reliable (see `claimed`).
    """
    for folder in _free(wanted):
        with ExitStack() as stack:
            try:
                certain = stack.enter_context(claimed(folder, _TRAINING, hint="choose another --out"))
            except InUseError:
                continue
            if not _is_free(folder):  # another run started and ended here in the meantime
                continue
            yield folder, certain
            return


@contextmanager
def claimed_run(folder: Path, *, new: bool) -> Iterator[bool]:
    """Hold the claim on a run's folder; with `new` it must not contain a run. Yields whether the claim is reliable.

    Raises:
        InUseError: another process is training here.
        UsageError: it contains a run, but `new` was requested.
    """
    hint = "choose another --out" if new else "wait until it ends, or stop it first"
    with claimed(folder, _TRAINING, hint=hint) as certain:
        if new and (folder / LAST).exists():
            raise UsageError(
                "already contains a run", where=folder, hint="add --resume to continue it, or choose another --out"
            )
        yield certain


def newest_checkpoint(root: Path = RUNS, name: str = BEST) -> Path:
    """Return the most recently written checkpoint `name` of a run (`is_run`) in any folder below `root`.

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
    """Return whether nothing is there, except a lock of a process that did not start."""
    if not folder.is_dir():
        return not folder.exists()
    return all(path.name == LOCK for path in folder.iterdir())
