"""The table that every data set becomes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from tdpn_core.errors import DatasetError

HEAD = "action"  # the head of every data set that has one label a clip
UNLABELLED = -1
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Clip:
    """One row of the table."""

    id: str
    source: Path
    split: str
    labels: Mapping[str, int]
    start: float = math.nan
    stop: float = math.nan


@dataclass(frozen=True)
class Dataset:
    """A data set as it lies on disk.

    `clips` has one row a clip, sorted by split and id, with the columns

    - `id`: unique, and the same wherever the root lies;
    - `source`: path of the video file, as `os.fsdecode` gives it;
    - `split`: train, val or test;
    - `label_<head>`: class of each head; -1 if it has none;
    - `start`, `stop`: the part of the file in seconds; NaN for the whole file.
    """

    name: str
    clips: pd.DataFrame
    classes: dict[str, list[str]]
    """Class names of each head, in the order of the labels."""

    notes: list[str] = field(default_factory=list)
    """What was seen on the way and not used, or may surprise."""


def make_dataset(name: str, clips: Iterable[Clip], classes: dict[str, list[str]], notes: list[str]) -> Dataset:
    """Put `clips` in their order and check what every table promises.

    Raises:
        DatasetError: there are no clips, or two have the same id.
    """
    ordered = sorted(clips, key=lambda clip: (SPLITS.index(clip.split), clip.id))
    if not ordered:
        raise DatasetError("no videos found", hint="; ".join(notes) or None)
    columns = {
        "id": [clip.id for clip in ordered],
        "source": [str(clip.source) for clip in ordered],
        "split": [clip.split for clip in ordered],
        **{f"label_{head}": [clip.labels[head] for clip in ordered] for head in classes},
        "start": [clip.start for clip in ordered],
        "stop": [clip.stop for clip in ordered],
    }
    table = pd.DataFrame(columns)
    repeated = table["id"][table["id"].duplicated()].tolist()
    if repeated:
        raise DatasetError(f"{len(repeated)} clips share an id with another, {repeated[0]!r} for one")
    return Dataset(name, table, classes, notes)
