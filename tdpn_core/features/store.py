"""Files of features: named arrays in a safetensors file with a digest, like score files."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tdpn_core.archive.table import Column, write_table
from tdpn_core.config.schema import RunConfig, from_dict, to_dict
from tdpn_core.errors import ScoresError
from tdpn_core.evaluation.array_file import read_arrays, write_arrays
from tdpn_core.labels import Labels, classes_of

COLUMNS = (Column("id"), Column("start", "seconds"), Column("end", "seconds"), Column("feature", "vector"))
"""Columns of a table: a clip, a row's time in it, and the mean of the row's features over its time steps."""

KIND = "features"
PARTS = "partial features"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Features:
    """Features of the clips of one split, in the order of the prepared data."""

    ids: list[str]
    """Name of each clip."""

    values: npt.NDArray[np.float32]
    """(rows, steps, channels): spatial mean of the feature map before the classifier; see `clip`."""

    clip: npt.NDArray[np.int64]
    """(rows,) index of the clip in `ids`; a clip has one row per test view, or per segment if `stride` is given."""

    start: npt.NDArray[np.float64]
    end: npt.NDArray[np.float64]
    """(rows,) time of the first and of the last frame of a row, in seconds from the clip's first frame."""

    labels: dict[str, npt.NDArray[np.int64]]
    """(clips,) class index for each head; -1: not labelled. For multi-label data (clips, classes)."""

    config: RunConfig
    """Network, sampling and data used to compute them; the classes are those of the data."""

    checkpoint: str
    """Path of the checkpoint."""

    weights: str
    """sha256 of the checkpoint's weights."""

    split: str
    stride: float | None = None
    """Seconds between segments of a clip; None: rows are test views."""

    def pooled(self) -> npt.NDArray[np.float32]:
        """Return the mean over time steps, (rows, channels)."""
        pooled: npt.NDArray[np.float32] = self.values.mean(axis=1)
        return pooled


def write_features(path: Path, features: Features) -> None:
    """Write a file of features atomically.

    Raises:
        TdpnError: the disk is full or the folder cannot be written.
    """
    header = {
        "ids": features.ids,
        "heads": list(features.labels),
        "config": to_dict(features.config),
        "checkpoint": features.checkpoint,
        "weights": features.weights,
        "split": features.split,
        "stride": features.stride,
    }
    arrays: dict[str, npt.NDArray[Any]] = {
        name: getattr(features, name) for name in ("values", "clip", "start", "end")
    } | {f"label_{head}": values for head, values in features.labels.items()}
    write_arrays(path, KIND, header, arrays)


def read_features(path: Path) -> Features:
    """Read and verify a file of features.

    Raises:
        ScoresError: missing, damaged, or another kind of file.
    """
    if not path.is_file():
        raise ScoresError("no such file of features", where=path, hint="run tdpn features DATA --checkpoint NAME")
    try:
        header, arrays = read_arrays(path, KIND)
    except ScoresError as error:
        raise ScoresError(error.what, where=path, hint="extract the features again: tdpn features") from error
    return Features(
        ids=header["ids"],
        labels={head: arrays[f"label_{head}"] for head in header["heads"]},
        config=from_dict(RunConfig, header["config"]),
        checkpoint=header["checkpoint"],
        weights=header["weights"],
        split=header["split"],
        stride=header["stride"],
        values=arrays["values"],
        clip=arrays["clip"],
        start=arrays["start"],
        end=arrays["end"],
    )


def write_parquet(path: Path, features: Features) -> None:
    """Write the rows as a Parquet table: id, start, end, the labels, and the mean feature as a list.

    Raises:
        ToolError: pyarrow is not installed.
    """
    named = [_named(values, features.config.data.classes[head]) for head, values in features.labels.items()]
    columns = [*COLUMNS[:3], *map(Column, features.labels), COLUMNS[3]]
    rows = (
        (features.ids[clip], start, end, *(names[clip] for names in named), feature)
        for clip, start, end, feature in zip(
            features.clip, features.start, features.end, features.pooled(), strict=True
        )
    )
    write_table(path, columns, rows)


def _named(labels: Labels, names: Sequence[str]) -> list[str | None]:
    """Return the class of each clip, None without one; in multi-label data its classes, joined by `|`."""
    own = ("|".join(names[label] for label in classes_of(labels, clip)) for clip in range(len(labels)))
    return [text or None for text in own]
