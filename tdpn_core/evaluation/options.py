"""Evaluation options; does not import torch, which re-computing metrics does not need."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tdpn_core.weights.zoo import entry_at, results_folder

SCORES = "scores.safetensors"
"""File name of the scores in an evaluation's folder."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """Options for scoring checkpoints."""

    data: Path | None = None
    """Prepared data; None: that of the checkpoint."""

    split: str | None = None
    """Split to score; None: `defaults.SPLIT`, or that of given scores."""

    views: str | None = None
    """Views per clip; None: the checkpoint's own."""

    workers: int | None = None
    """Processes that read clips; None chooses by machine."""

    views_at_once: int | None = None
    """Views per forward pass; None chooses by device."""

    allow_missing: bool = False
    """Skip clips that cannot be read; otherwise they are an error."""

    classes: Path | None = None
    """File with the class names of another project's checkpoint that contains none."""

    ema: bool | None = None
    """Averaged or raw weights of another project's checkpoint; None: those that the project evaluates."""

    allow_mismatch: bool = False
    """Accept frames that were prepared differently from the training frames."""

    only_shared: bool = False
    """If the data has only some of the checkpoint's classes, compare only these, an easier task."""


DEFAULTS = ScoreOptions()


def default_folder(path: Path, split: str, views: str) -> Path:
    """Return the default folder of a checkpoint's evaluation: next to it, with its name unless that is `best`.

    That of a checkpoint of the zoo is under `runs/`, not in the cache.
    """
    plain = path.stem == "best" or entry_at(path) is not None
    own = "" if plain else f"{path.stem}-"
    return results_folder(path) / f"eval-{own}{split}-{views}"
