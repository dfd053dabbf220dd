"""Scores of every view of every clip in one safetensors file, with everything that metrics need.

The file contains no code, and its digest is verified before use.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tdpn_core.config.schema import from_dict
from tdpn_core.errors import ConfigError, ScoresError
from tdpn_core.evaluation.array_file import is_arrays, is_hdf5, read_arrays, write_arrays
from tdpn_core.evaluation.options import SCORES
from tdpn_core.labels import Labels, is_multilabel

SCHEMA = 2
KIND = "scores"

Logits = npt.NDArray[np.floating]
_STRICT = {"extra": "forbid"}
_CLIPS_AT_ONCE = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coverage:
    """Number of clips of a split at each stage; each is a subset of the previous one."""

    __pydantic_config__ = _STRICT

    listed: int | None = None
    """Clips in the data set's annotations; None if they do not list the split."""

    on_disk: int
    """Clips whose file existed when the data was prepared."""

    decoded: int
    """Clips that were decoded then."""

    scored: int
    """Clips with scores."""

    missing: dict[str, str] = dataclasses.field(default_factory=dict)
    """Reason for each decoded clip without scores, by id."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overlap:
    """Number of scored clips that a run was trained on."""

    __pydantic_config__ = _STRICT

    clips: int
    """Matching by name or by content."""

    by_id: int
    by_content: int
    """Matching by bit-identical stored pixels, under any name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """Where scores come from."""

    __pydantic_config__ = _STRICT

    checkpoint: str
    """Checkpoint file; for fused scores, the files and their weights."""

    weights: str
    """SHA-256 of the weights; for fused scores, of all weights."""

    model: str
    """Family and depth of the network, as text."""

    dataset: str
    data: str
    """Folder of the prepared data."""

    data_digest: str
    """Digest of its manifest: equal digests mean bit-identical clips."""

    split: str
    views: str
    coverage: Coverage
    subsets: dict[str, dict[str, list[str]] | dict[str, list[int]]] = dataclasses.field(default_factory=dict)
    """Subsets that the data set's protocol measures separately (`Manifest.subsets`)."""

    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    """The run's configuration as plain values; for fused scores, that of the first."""

    fused: dict[str, float] = dataclasses.field(default_factory=dict)
    """Weight of each fused file."""

    trained_on: str = ""
    """Digest of the training data; empty if unknown."""

    training: Overlap | None = None
    """Number of scored clips that the network was trained on; None if unknown."""

    parts: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    """For each head of which the data has only some classes: their number, and the checkpoint's."""

    validation: dict[str, float] = dataclasses.field(default_factory=dict)
    """The run's own validation of these weights: `epoch`, and `top1` or for multi-label data `map`."""

    thresholds: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    """For multi-label data, the thresholds of the classes by head that the run's validation chose; 0.5 without them."""

    notes: list[str] = dataclasses.field(default_factory=list)
    """Caveats for readers of the metrics."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of the clips of a split: N clips, V views each, C classes by head."""

    ids: list[str]
    """(N,) unique names of the clips."""

    classes: dict[str, list[str]]
    """Class names by head, in label order."""

    labels: dict[str, Labels]
    """(N,) by head; -1 for unlabelled. For multi-label data (N, C), see `tdpn_core.labels`."""

    logits: dict[str, Logits]
    """(N, V, C) by head, before the softmax."""

    origin: Origin

    def probabilities(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return (N, C) by head: the mean over the views of each view's probabilities (the usual protocol).

        These are the softmax of the logits, or the sigmoid of each in multi-label data.
        """
        return {head: mean_probabilities(self.logits[head], multilabel=self.multilabel) for head in self.classes}

    @property
    def multilabel(self) -> bool:
        """Return whether a clip may belong to several classes, or to none."""
        return any(map(is_multilabel, self.labels.values()))


def sigmoid(logits: Logits) -> npt.NDArray[np.float64]:
    """Return the probability of each class by itself, in double precision."""
    values = logits.astype(np.float64)
    return 0.5 * (1 + np.tanh(0.5 * values))


def softmax(logits: Logits) -> npt.NDArray[np.float64]:
    """Return probabilities over the last axis, in double precision."""
    values = logits.astype(np.float64)
    values -= values.max(axis=-1, keepdims=True)
    np.exp(values, out=values)
    values /= values.sum(axis=-1, keepdims=True)
    return values


def mean_probabilities(logits: Logits, *, multilabel: bool = False) -> npt.NDArray[np.float64]:
    """Reduce (N, V, C) to (N, C) in chunks, since double precision of all views takes gigabytes."""
    of_views = sigmoid if multilabel else softmax
    result = np.empty((logits.shape[0], logits.shape[2]))
    for start in range(0, len(logits), _CLIPS_AT_ONCE):
        part = slice(start, start + _CLIPS_AT_ONCE)
        result[part] = of_views(logits[part]).mean(axis=1)
    return result


def write_scores(path: Path, scores: Scores) -> None:
    """Write `scores` to `path` atomically. Equal scores give byte-identical files.

    Raises:
        TdpnError: the disk is full or the folder cannot be written.
    """
    arrays: dict[str, npt.NDArray[Any]] = {f"labels/{head}": values for head, values in scores.labels.items()}
    arrays |= {f"logits/{head}": values for head, values in scores.logits.items()}
    arrays |= {f"probabilities/{head}": values for head, values in scores.probabilities().items()}
    origin = dataclasses.asdict(scores.origin)
    header = {"schema": SCHEMA, "ids": scores.ids, "classes": scores.classes, "origin": origin}
    write_arrays(path, KIND, header, arrays)


def read_scores(path: Path) -> Scores:
    """Read and verify a score file.

    Raises:
        ScoresError: it is missing, damaged, written by another program or of a later schema.
    """
    header, arrays = read_arrays(path, KIND)
    if header.get("schema") != SCHEMA:
        what = f"scores of schema {header.get('schema')}, this version reads {SCHEMA}"
        raise ScoresError(what, where=path, hint="use the tdpn version that wrote it")
    try:
        classes: dict[str, list[str]] = header["classes"]
        scores = Scores(
            ids=header["ids"],
            classes=classes,
            labels={head: arrays[f"labels/{head}"] for head in classes},
            logits={head: arrays[f"logits/{head}"] for head in classes},
            origin=from_dict(Origin, header["origin"]),
        )
    except (KeyError, ConfigError) as error:
        raise ScoresError(f"not a score file ({error})", where=path) from error
    _check(scores, path)
    return scores


def is_scores(path: Path) -> bool:
    """Return whether to read `path` as a score file and not as a checkpoint, by its first bytes or its name.

    True for HDF5 files: `read_scores` reports that this format is no longer supported.
    """
    return is_arrays(path) or is_hdf5(path) or (path.name == SCORES and path.is_file())


def _check(scores: Scores, path: Path) -> None:
    count = len(scores.ids)
    if len(set(scores.ids)) != count:
        raise ScoresError("contains a clip twice", where=path)
    for head, names in scores.classes.items():
        labels, logits = scores.labels[head].shape, scores.logits[head].shape
        if labels not in ((count,), (count, len(names))) or logits[::2] != (count, len(names)):
            what = f"{head} labels {labels} and scores {logits} do not fit {count} clips of {len(names)} classes"
            raise ScoresError(what, where=path)
