"""Where runs lie: one folder each under `runs/`, with `last.pt`, `best.pt`, `config.json`, `metrics.csv`."""

from __future__ import annotations

from pathlib import Path

from tdpn_core.config import RunConfig
from tdpn_core.errors import CheckpointError, UsageError

RUNS = Path("runs")
LAST, BEST = "last.pt", "best.pt"


def new_folder(config: RunConfig) -> Path:
    """A free folder under `runs/`, named by data set, model and depth."""
    return free_folder(RUNS / f"{config.data.dataset}-{config.model.name}-{config.model.arch}")


def free_folder(wanted: Path) -> Path:
    """`wanted`, or the first of `wanted-2`, `wanted-3`, ... that is not there yet. Not created."""
    candidate, number = wanted, 1
    while candidate.exists():
        number += 1
        candidate = wanted.with_name(f"{wanted.name}-{number}")
    return candidate


def must_be_new(folder: Path) -> Path:
    """`folder`, unless a run lies there.

    Raises:
        UsageError: it holds a run already.
    """
    if (folder / LAST).exists():
        raise UsageError(
            "already holds a run", where=folder, hint="add --resume to continue it, or choose another --out"
        )
    return folder


def newest_checkpoint(root: Path = RUNS, name: str = BEST) -> Path:
    """The checkpoint of that name written last, in any folder below `root`.

    Raises:
        CheckpointError: there is none.
    """
    found = sorted(root.rglob(name), key=lambda path: path.stat().st_mtime)
    if not found:
        raise CheckpointError(f"no {name} under {root}/", hint="run tdpn train, or name one with --checkpoint")
    return found[-1]
