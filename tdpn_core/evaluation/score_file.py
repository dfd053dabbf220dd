"""Scores in one safetensors file: the scores of every view of every clip, and everything that metrics need.

Nothing in it is code, and a digest over all of it is checked before it is believed.
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

SCHEMA = 2
KIND = "scores"

Logits = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]
_STRICT = {"extra": "forbid"}
_CLIPS_AT_ONCE = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coverage:
    """How many clips of a split there are at each stage, each one a part of the one before."""

    __pydantic_config__ = _STRICT

    listed: int | None = None
    """Clips that the data set's own annotations list; None where they do not list the split."""

    on_disk: int
    """Clips whose file was there when the data was prepared."""

    decoded: int
    """Those that could be decoded then."""

    scored: int
    """Those that have scores."""

    missing: dict[str, str] = dataclasses.field(default_factory=dict)
    """Why each clip that was decoded then has no scores now, by id."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overlap:
    """How many of the scored clips a run was trained on."""

    __pydantic_config__ = _STRICT

    clips: int
    """By name or by content."""

    by_id: int
    by_content: int
    """Those whose stored pixels are the same to the last bit, under any name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """Where scores come from."""

    __pydantic_config__ = _STRICT

    checkpoint: str
    """The file; of fused scores, the files and their weights."""

    weights: str
    """sha256 of the weights; of fused scores, of those of all."""

    model: str
    """Family and depth of the network, in words."""

    dataset: str
    data: str
    """Folder of the prepared data."""

    data_digest: str
    """Of its manifest: the same digest, the same clips to the last bit."""

    split: str
    views: str
    coverage: Coverage
    subsets: dict[str, dict[str, list[str]] | dict[str, list[int]]] = dataclasses.field(default_factory=dict)
    """What the data set's own protocol scores apart (`Manifest.subsets`)."""

    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    """The run's configuration as plain values; of fused scores, that of the first."""

    fused: dict[str, float] = dataclasses.field(default_factory=dict)
    """Weight of each file that was fused."""

    trained_on: str = ""
    """Digest of the data that the network was trained on; empty where it is not known."""

    training: Overlap | None = None
    """How many of the scored clips the network was trained on; None where it is not known."""

    parts: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    """Of each head whose classes the data has only a part of: how many, and how many the checkpoint has."""

    validation: dict[str, float] = dataclasses.field(default_factory=dict)
    """The run's own validation of these weights: `epoch` and `top1`."""

    notes: list[str] = dataclasses.field(default_factory=list)
    """What a reader of the numbers should know."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of the clips of a split: N clips, V views of each, C classes by head."""

    ids: list[str]
    """(N,) names of the clips, each once."""

    classes: dict[str, list[str]]
    """Names of each head's classes, in the order of the labels."""

    labels: dict[str, Labels]
    """(N,) of each head; -1: not labelled."""

    logits: dict[str, Logits]
    """(N, V, C) of each head, before the softmax."""

    origin: Origin

    def probabilities(self) -> dict[str, npt.NDArray[np.float64]]:
        """(N, C) of each head: softmax of each view, then the mean over the views (the field's protocol)."""
        return {head: mean_probabilities(self.logits[head]) for head in self.classes}


def softmax(logits: Logits) -> npt.NDArray[np.float64]:
    """Probabilities over the last axis, in double precision."""
    values = logits.astype(np.float64)
    values -= values.max(axis=-1, keepdims=True)
    np.exp(values, out=values)
    values /= values.sum(axis=-1, keepdims=True)
    return values


def mean_probabilities(logits: Logits) -> npt.NDArray[np.float64]:
    """(N, V, C) as (N, C), some clips at a time, since double precision of all views is gigabytes."""
    result = np.empty((logits.shape[0], logits.shape[2]))
    for start in range(0, len(logits), _CLIPS_AT_ONCE):
        part = slice(start, start + _CLIPS_AT_ONCE)
        result[part] = softmax(logits[part]).mean(axis=1)
    return result


def write_scores(path: Path, scores: Scores) -> None:
    """Write `scores` to `path` atomically. Equal scores make equal files, to the last byte.

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
    """Read and verify a file of scores.

    Raises:
        ScoresError: missing, damaged, of another program or a later schema.
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
        raise ScoresError(f"not a file of scores ({error})", where=path) from error
    _check(scores, path)
    return scores


def is_scores(path: Path) -> bool:
    """Whether `path` is to be read as a file of scores and not as a checkpoint, by its first bytes or its name.

    An HDF5 file is one, too: `read_scores` says that scores are no longer kept in that format.
    """
    return is_arrays(path) or is_hdf5(path) or (path.name == SCORES and path.is_file())


def _check(scores: Scores, path: Path) -> None:
    count = len(scores.ids)
    if len(set(scores.ids)) != count:
        raise ScoresError("names a clip twice", where=path)
    for head, names in scores.classes.items():
        labels, logits = scores.labels[head].shape, scores.logits[head].shape
        if labels != (count,) or logits[::2] != (count, len(names)):
            what = f"{head} labels {labels} and scores {logits} do not fit {count} clips of {len(names)} classes"
            raise ScoresError(what, where=path)
