"""What is scored, and how; without torch, which re-computing metrics does not need."""

from __future__ import annotations

import dataclasses
from pathlib import Path

SCORES = "scores.safetensors"
"""Name of the file of scores in an evaluation's folder."""

SPLIT = "val"
"""Which clips checkpoints are scored on unless told otherwise."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """How checkpoints are scored."""

    data: Path | None = None
    """Prepared data; None: that of the checkpoint."""

    split: str | None = None
    """Which clips; None: `SPLIT`, or those that given scores are of."""

    views: str | None = None
    """None: the checkpoint's own."""

    workers: int | None = None
    """Processes that read clips; None: by machine."""

    views_at_once: int | None = None
    """Views that go through the network together; None: by device."""

    allow_missing: bool = False
    """A clip that cannot be read has no scores; else it is an error."""

    classes: Path | None = None
    """Names of the classes of another project's checkpoint, where it has none."""

    ema: bool | None = None
    """Averaged or raw weights of another project's checkpoint; None: those that the project evaluates."""

    allow_mismatch: bool = False
    """Frames may have been prepared otherwise than those that were trained on."""

    only_shared: bool = False
    """Where the data has a part of the checkpoint's classes: compare only these, an easier task."""


DEFAULTS = ScoreOptions()


def default_folder(path: Path, split: str, views: str) -> Path:
    """Where an evaluation of a checkpoint goes unless told otherwise: beside it, by its name unless that is `best`."""
    own = "" if path.stem == "best" else f"{path.stem}-"
    return path.parent / f"eval-{own}{split}-{views}"
