"""Train a classifier on frozen features; the run's checkpoint is the complete network with that classifier.

The classifier's regularisation is chosen among the training clips; validation clips have no part in any choice.
Features of segments (`tdpn features --stride`) train a network that is tested on such segments.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from tdpn_core import files
from tdpn_core.checkpoint import Checkpoint, TrainingState, save_checkpoint, standing
from tdpn_core.config.schema import PROBE, RunConfig, SamplingConfig, StartConfig, TrainConfig
from tdpn_core.defaults import ProbeKind
from tdpn_core.errors import CheckpointError, DatasetError, UsageError
from tdpn_core.evaluation.metrics import top_k
from tdpn_core.evaluation.score_checkpoint import weights_digest
from tdpn_core.evaluation.training_clips import write_training_clips
from tdpn_core.features.extract import FOLDER
from tdpn_core.features.frozen import open_frozen, with_heads
from tdpn_core.features.store import Features, read_features
from tdpn_core.model.heads import Pooling
from tdpn_core.progress import SILENT, Progress
from tdpn_core.runs import BEST, LAST, RUNS, claimed_new, claimed_run
from tdpn_core.shards import ClipStore, find_prepared
from tdpn_core.training.attentive_probe import fit_attentive
from tdpn_core.training.linear_probe import fit_linear
from tdpn_core.training.logging import Record
from tdpn_core.training.trainer import TrainResult
from tdpn_core.weights.resolve import find_weights
from tdpn_core.weights.zoo import entry_at, recorded_digest

MOST_VIEWS = 10
"""Most test views of a network that was trained on segments."""


class Probe(Protocol):
    """A classifier of features."""

    @property
    def pooling(self) -> Pooling:
        """The network's setting that makes its head this classifier."""

    def probabilities(self, values: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float64]]:
        """Map features (rows, steps, channels) to probabilities (rows, classes) by head."""

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the weights of the network's head by name."""


_FITS: dict[ProbeKind, Callable[[Features, int, Progress], Probe]] = {"linear": fit_linear, "attentive": fit_attentive}


def train_probe(
    data: Path | None = None,
    *,
    probe: ProbeKind = "linear",
    features: Path | None = None,
    out: Path | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> TrainResult:
    """Train a classifier on the features of the training clips. What `tdpn train --probe` does.

    Args:
        data: folder of the prepared data set; None: the only one under `data/`.
        probe: `linear`, a logistic regression on averages over time; or `attentive`, a learned query that attends over
            the time steps, and a linear layer.
        features: folder of `tdpn features`; None: the only one in the data set's folder.
        out: folder of the run; None: a new one under `runs/`.
        seed: of the folds of cross-validation.
        progress: gets lines about what is chosen and what came out.

    Returns:
        The folder, the checkpoint and the history of the run, which has one row.

    Raises:
        UsageError: no or several folders of features, or features of one time step for an attentive probe.
        ScoresError: a file of features is damaged.
        CheckpointError: the checkpoint of the features is not there any more, or was changed.
        DatasetError: fewer than two classes have clips.
        ConfigError: the data was prepared again since.
    """
    folder = find_prepared(data)
    source = features or only_features(folder)
    known = read_features(source / "train.safetensors")
    clips = ClipStore(folder, "train")
    check_features(known, clips, source)
    if clips.manifest.multilabel:
        hint = "train the network: tdpn train"
        raise UsageError("probes are for data with one label per clip", where=folder, hint=hint)
    if probe == "attentive" and known.values.shape[1] == 1:
        what = "these features have one time step, and an attentive probe attends over several"
        raise UsageError(what, where=source, hint="use --probe linear")
    path = find_weights(Path(known.checkpoint))
    frozen = _frozen(path, known, folder)
    config = replace(_config(known, clips, probe), start=_start(path))
    with _claim(out, config, probe) as run:
        record = Record(run, config, progress=progress)
        state = TrainingState()
        with record.running(state):
            began = time.perf_counter()
            write_training_clips(run, clips)
            fitted = _FITS[probe](known, seed, progress)
            loss, top1, _ = _measured(fitted, known)
            row = {"epoch": 1, "step": 1, "loss": loss, "top1": top1, "seconds": time.perf_counter() - began}
            validation = source / "val.safetensors"
            if validation.is_file():
                row |= _validated(fitted, read_features(validation))
            state = _state(row)
            config = replace(config, model=replace(config.model, pooling=fitted.pooling))
            weights = with_heads(replace(frozen, config=config))
            weights |= {f"head.{name}": value for name, value in fitted.weights().items()}
            checkpoint = Checkpoint(config=config, state=state, weights=weights, optimiser={}, resumable=False)
            for name in (LAST, BEST):
                save_checkpoint(run / name, checkpoint)
            record.epoch(state)
    return TrainResult(folder=run, best=run / BEST, state=state)


def only_features(folder: Path) -> Path:
    """Return the only folder of features of a prepared data set.

    Raises:
        UsageError: there is none, or several.
    """
    found = sorted(path.parent for path in (folder / FOLDER).glob("*/train.safetensors"))
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(str(path) for path in found)
        raise UsageError(f"has {len(found)} folders of features", where=folder, hint=f"choose --features of {names}")
    hint = "tdpn features DATA --checkpoint NAME extracts them"
    raise UsageError("has no features of training clips", where=folder, hint=hint)


def check_features(known: Features, clips: ClipStore, source: Path) -> None:
    """
    Raises:
        UsageError: the features are of other data.
        DatasetError: fewer than two classes have clips.
    """
    if known.config.data.digest != clips.manifest.digest:
        what = "the data was prepared again since these features were extracted"
        raise UsageError(what, where=source, hint="extract them again: tdpn features")
    for head, labels in known.labels.items():
        if len(np.unique(labels[labels >= 0])) < 2:
            raise DatasetError(f"fewer than two classes of {head} have training clips", where=known.config.data.path)


def _start(path: Path) -> StartConfig:
    """The network of the features: the probe's other weights are its."""
    entry = entry_at(path)
    digest = recorded_digest(path) or files.digest_file(path)
    return StartConfig(name=entry.name if entry else str(path), sha256=digest)


def _frozen(path: Path, known: Features, folder: Path) -> Checkpoint:
    frozen = open_frozen(path, folder)
    if weights_digest(frozen) != known.weights:
        hint = "extract the features again: tdpn features"
        raise CheckpointError("other weights than those the features were extracted with", where=path, hint=hint)
    return frozen


def _config(known: Features, clips: ClipStore, probe: ProbeKind) -> RunConfig:
    train = TrainConfig(epochs=1, batch_size=len(known.ids), milestones=(), schedule="cosine", frozen="res5")
    return replace(known.config, recipe=f"{PROBE}{probe}", train=train, sampling=_sampling(known, clips))


def _sampling(known: Features, clips: ClipStore) -> SamplingConfig:
    """Return the sampling of test views like the rows: of segments, dense views with the same distance of frames."""
    sampling = known.config.sampling
    if known.stride is None:
        return sampling
    views = f"{min(MOST_VIEWS, max(1, round(len(known.clip) / len(known.ids))))}x1"
    if sampling.mode == "dense":
        return replace(sampling, views=views)
    gaps = (known.end - known.start) / max(1, known.config.model.num_frames - 1)
    interval = round(float(np.median(gaps * clips.fps[known.clip])))
    return replace(sampling, mode="dense", interval=max(1, interval), views=views)


@contextmanager
def _claim(out: Path | None, config: RunConfig, probe: str) -> Iterator[Path]:
    if out is not None:
        with claimed_run(out, new=True):
            yield out
        return
    wanted = RUNS / f"{config.data.dataset}-{config.model.name}-{config.model.arch}-{probe}"
    with claimed_new(wanted) as (folder, _):
        yield folder


def _measured(probe: Probe, known: Features) -> tuple[float, float, float]:
    """Loss, top-1 and top-5 of the labelled clips, means over the heads. A clip's rows are averaged."""
    found = []
    for head, rows in probe.probabilities(known.values).items():
        labels = known.labels[head]
        inside = labels >= 0
        if not inside.any():
            continue
        sums = np.zeros((len(labels), rows.shape[1]))
        np.add.at(sums, known.clip, rows)
        values = sums[inside] / sums[inside].sum(axis=1, keepdims=True)
        likelihood = values[np.arange(inside.sum()), labels[inside]]
        loss = float(-np.log(np.maximum(likelihood, 1e-12)).mean())
        found.append((loss, top_k(values, labels[inside], 1), top_k(values, labels[inside], 5)))
    loss, top1, top5 = np.mean(found, axis=0).tolist()
    return loss, top1, top5


def _validated(probe: Probe, known: Features) -> dict[str, float]:
    if not any((labels >= 0).any() for labels in known.labels.values()):
        return {}
    loss, top1, top5 = _measured(probe, known)
    return {"val_loss": loss, "val_top1": top1, "val_top5": top5}


def _state(row: dict[str, Any]) -> TrainingState:
    score, loss = standing(row)
    return TrainingState(epoch=1, step=1, history=[row], best_score=score, best_loss=-loss if loss else math.inf)
