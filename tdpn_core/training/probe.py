"""Train a linear classifier on frozen features; the run's checkpoint is the complete network with that classifier.

Logistic regression over standardised channels: of each its average, and the mean absolute difference of neighbouring
time steps, without which features of single frames say nothing about motion. Its regularisation is chosen by
cross-validation among the training clips; validation clips have no part in any choice. The standardisation is
multiplied into the classifier, so that the network computes the same answers from pixels.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from tdpn_core import files
from tdpn_core.checkpoint import Checkpoint, TrainingState, save_checkpoint
from tdpn_core.config.schema import RunConfig, StartConfig, TrainConfig
from tdpn_core.errors import CheckpointError, DatasetError, UsageError
from tdpn_core.evaluation.metrics import top_k
from tdpn_core.evaluation.score_checkpoint import weights_digest
from tdpn_core.evaluation.training_clips import write_training_clips
from tdpn_core.features.extract import FOLDER
from tdpn_core.features.frozen import open_frozen, with_heads
from tdpn_core.features.store import Features, read_features
from tdpn_core.model.heads import Pooling, pool
from tdpn_core.progress import SILENT, Progress
from tdpn_core.runs import BEST, LAST, RUNS, claimed_new, claimed_run
from tdpn_core.shards import ClipStore, find_prepared
from tdpn_core.training.logging import Record
from tdpn_core.training.trainer import TrainResult
from tdpn_core.weights.resolve import find_weights
from tdpn_core.weights.zoo import entry_at, recorded_digest

Probe = Literal["linear"]
Floats = npt.NDArray[np.float64]

STRENGTHS = tuple(10.0**power for power in range(-5, 2))
"""Inverse regularisation strengths (scikit-learn's C) that cross-validation chooses from."""

USUAL = 1e-3
"""The strength where a class has too few clips for cross-validation."""

FOLDS = 5
_ABSENT = -20.0  # logits below the others' that a class without training clips gets


class _Linear(NamedTuple):
    """Logits are `weight` (classes, channels) times a feature plus `bias` (classes,)."""

    weight: Floats
    bias: Floats

    def probabilities(self, features: Floats) -> Floats:
        logits = features @ self.weight.T + self.bias
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares: Floats = raised / raised.sum(axis=1, keepdims=True)
        return shares


def train_probe(
    data: Path | None = None,
    *,
    probe: Probe = "linear",
    features: Path | None = None,
    out: Path | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> TrainResult:
    """Train a classifier on the features of the training clips. What `tdpn train --probe` does.

    Args:
        data: folder of the prepared data set; None: the only one under `data/`.
        probe: the kind of classifier.
        features: folder of `tdpn features`; None: the only one in the data set's folder.
        out: folder of the run; None: a new one under `runs/`.
        seed: of the folds of cross-validation.
        progress: gets lines about what is chosen and what came out.

    Returns:
        The folder, the checkpoint and the history of the run, which has one row.

    Raises:
        UsageError: no or several folders of features.
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
    path = find_weights(Path(known.checkpoint))
    frozen = _frozen(path, known, folder)
    config = replace(_config(known, len(known.ids)), start=_start(path))
    frozen = replace(frozen, config=config)
    with _claim(out, config, probe) as run:
        record = Record(run, config, progress=progress)
        state = TrainingState()
        with record.running(state):
            began = time.perf_counter()
            write_training_clips(run, clips)
            linear, row = _fitted(known, seed, progress)
            validation = source / "val.safetensors"
            row |= {"seconds": time.perf_counter() - began}
            if validation.is_file():
                row |= _validated(linear, read_features(validation))
            state = _state(row)
            checkpoint = Checkpoint(
                config=config, state=state, weights=_weights(frozen, linear), optimiser={}, resumable=False
            )
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
        ConfigError, UsageError: the features are of other data, or of stretches of clips.
        DatasetError: fewer than two classes have clips.
    """
    if known.config.data.digest != clips.manifest.digest:
        what = "the data was prepared again since these features were extracted"
        raise UsageError(what, where=source, hint="extract them again: tdpn features")
    if known.stride is not None:
        what = "these features are of stretches of clips, but a checkpoint is tested on test views"
        raise UsageError(what, where=source, hint="extract features without --stride")
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


def _config(known: Features, clips: int) -> RunConfig:
    train = TrainConfig(epochs=1, batch_size=clips, milestones=(), schedule="cosine", frozen="res5")
    pooling: Pooling = "change" if known.values.shape[1] > 1 else "mean"
    return replace(known.config, recipe="probe-linear", train=train, model=replace(known.config.model, pooling=pooling))


def pooled(known: Features) -> Floats:
    """Return (rows, channels) as the network's classifier gets them."""
    steps = torch.from_numpy(known.values).double().transpose(1, 2)
    return pool(steps, "change" if known.values.shape[1] > 1 else "mean").numpy()


@contextmanager
def _claim(out: Path | None, config: RunConfig, probe: str) -> Iterator[Path]:
    if out is not None:
        with claimed_run(out, new=True):
            yield out
        return
    wanted = RUNS / f"{config.data.dataset}-{config.model.name}-{config.model.arch}-{probe}"
    with claimed_new(wanted) as (folder, _):
        yield folder


def _fitted(known: Features, seed: int, progress: Progress) -> tuple[dict[str, _Linear], dict[str, float]]:
    """The classifier of each head, and the means of their loss and top-1 on the training clips."""
    rows_of_features = pooled(known)
    fitted, rows = {}, []
    for head, labels in known.labels.items():
        own = labels[known.clip]
        inside = own >= 0
        count = len(known.config.data.classes[head])
        linear, strength, why = _fit(rows_of_features[inside], own[inside], known.clip[inside], count, seed)
        progress.say(f"{head}: C = {strength:g}, {why}")
        fitted[head] = linear
        rows.append(_measured(linear, known, head)[:2])
    loss, top1 = np.mean(rows, axis=0).tolist()
    return fitted, {"epoch": 1, "step": 1, "loss": loss, "top1": top1}


def regression_model(strength: float) -> Any:
    """Return scikit-learn's logistic regression over standardised channels, not fitted."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))


def chosen_strength(
    features: Floats, labels: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], seed: int
) -> tuple[float, str]:
    """Return the strength with the lowest loss in cross-validation, and how it was chosen; a group is in one fold."""
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold

    fewest = min(len(np.unique(groups[labels == label])) for label in np.unique(labels))
    if fewest < 2:
        return USUAL, f"not chosen: a class has {fewest} clips"
    folds = StratifiedGroupKFold(min(FOLDS, fewest), shuffle=True, random_state=seed)
    grid = {"logisticregression__C": STRENGTHS}
    search = GridSearchCV(regression_model(USUAL), grid, scoring="neg_log_loss", cv=folds, refit=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a weak regularisation does not converge
        search.fit(features, labels, groups=groups)
    why = f"chosen by {folds.get_n_splits()}-fold cross-validation of the training clips"
    return float(search.best_params_["logisticregression__C"]), why


def _fit(
    features: Floats, labels: npt.NDArray[np.int64], clip: npt.NDArray[np.int64], classes: int, seed: int
) -> tuple[_Linear, float, str]:
    """Logistic regression, its strength, and how that was chosen. Rows of one clip stay in one fold."""
    present = np.unique(labels)
    strength, why = chosen_strength(features, labels, clip, seed)
    model = regression_model(strength)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a weak regularisation does not converge
        model.fit(features, labels)
    scaler, regression = model[0], model[1]
    weight, bias = regression.coef_ / scaler.scale_, regression.intercept_
    bias = bias - weight @ scaler.mean_
    if len(present) == 2:  # scikit-learn has one row for two classes
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    full, shift = np.zeros((classes, features.shape[1])), np.zeros(classes)
    if len(present) < classes:
        full += weight.mean(axis=0)
        shift += bias.mean() + _ABSENT
    full[present], shift[present] = weight, bias
    return _Linear(full, shift), strength, why


def _measured(linear: _Linear, known: Features, head: str) -> tuple[float, float, float]:
    """Loss, top-1 and top-5 of the labelled clips, the probabilities of a clip's rows averaged."""
    labels = known.labels[head]
    rows = linear.probabilities(pooled(known))
    sums = np.zeros((len(labels), rows.shape[1]))
    np.add.at(sums, known.clip, rows)
    inside = labels >= 0
    values = sums[inside] / sums[inside].sum(axis=1, keepdims=True)
    likelihood = values[np.arange(inside.sum()), labels[inside]]
    loss = float(-np.log(np.maximum(likelihood, 1e-12)).mean())
    return loss, top_k(values, labels[inside], 1), top_k(values, labels[inside], 5)


def _validated(linear: dict[str, _Linear], known: Features) -> dict[str, float]:
    heads = [head for head, labels in known.labels.items() if (labels >= 0).any()]
    if not heads:
        return {}
    loss, top1, top5 = np.mean([_measured(linear[head], known, head) for head in heads], axis=0).tolist()
    return {"val_loss": loss, "val_top1": top1, "val_top5": top5}


def _state(row: dict[str, Any]) -> TrainingState:
    top1, loss = row.get("val_top1", row["top1"]), row.get("val_loss", row["loss"])
    return TrainingState(epoch=1, step=1, history=[row], best_top1=top1, best_loss=loss if loss else math.inf)


def _weights(frozen: Checkpoint, linear: dict[str, _Linear]) -> dict[str, torch.Tensor]:
    found = with_heads(frozen)
    for head, part in linear.items():
        found[f"head.linear.{head}.weight"] = torch.from_numpy(part.weight).float()
        found[f"head.linear.{head}.bias"] = torch.from_numpy(part.bias).float()
    return found
