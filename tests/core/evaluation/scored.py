"""A network with fresh weights, and scores made of nothing but numbers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tdpn_core.checkpoint import Checkpoint, TrainingState, load_checkpoint, save_checkpoint
from tdpn_core.config.schema import RunConfig
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.evaluation.score_file import Coverage, Origin, Scores
from tdpn_core.model.registry import build_model

CPU = Runtime(torch.device("cpu"))


def fresh(path: Path, config: RunConfig, seed: int = 0) -> Path:
    """A checkpoint of random weights and batch statistics, so that classes and clips differ."""
    torch.manual_seed(seed)
    model = build_model(config.model)
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif ".linear." in name and name.endswith("weight"):
            value.normal_(std=1.0)
    save_checkpoint(path, Checkpoint(config=config, state=TrainingState(), weights=model.state_dict(), optimiser={}))
    return path


def saved(path: Path, source: Path, config: RunConfig) -> Path:
    """The weights of `source` with another configuration."""
    save_checkpoint(path, replace(load_checkpoint(source), config=config))
    return path


def make_scores(
    logits: object,
    labels: object,
    *,
    ids: Sequence[str] | None = None,
    classes: dict[str, list[str]] | None = None,
    **origin: object,
) -> Scores:
    """Scores (N, C) or (N, V, C) of the head `action`, or by head; what else is known of them by name."""
    by_head = logits if isinstance(logits, dict) else {"action": logits}
    labels_of = labels if isinstance(labels, dict) else {"action": labels}
    arrays = {head: np.asarray(values, dtype=np.float64) for head, values in by_head.items()}
    arrays = {head: values[:, None] if values.ndim == 2 else values for head, values in arrays.items()}
    first = next(iter(arrays.values()))
    known = {
        "checkpoint": "a.pt",
        "weights": "0" * 64,
        "model": "tdpn r18",
        "dataset": "folder",
        "data": "data/folder",
        "data_digest": "1" * 64,
        "split": "val",
        "views": f"{first.shape[1]}x1",
        "coverage": Coverage(on_disk=len(first), decoded=len(first), scored=len(first)),
    }
    return Scores(
        ids=list(ids) if ids is not None else [f"clip-{clip}" for clip in range(len(first))],
        classes=classes
        or {head: [f"{head} {label}" for label in range(values.shape[2])] for head, values in arrays.items()},
        labels={head: np.asarray(values, dtype=np.int64) for head, values in labels_of.items()},
        logits=arrays,
        origin=Origin(**(known | origin)),
    )
