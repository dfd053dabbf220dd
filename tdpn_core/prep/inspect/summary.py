"""Summary of a prepared data set: clips, hours, classes, and clips left out with reasons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tdpn_core.datasets.clip_table import SPLITS
from tdpn_core.errors import ShardError
from tdpn_core.labels import clips_per_class
from tdpn_core.prep.inspect.status import Prepared
from tdpn_core.shards.format import Index
from tdpn_core.shards.reader import open_index
from tdpn_core.shards.verify import Fault, unlisted


@dataclass
class SplitSummary:
    """One split."""

    clips: int = 0
    frames: int = 0
    hours: float = 0.0
    bytes: int = 0
    """Bytes of its shards."""

    shards: int = 0
    left_out: int = 0
    """Number of clips that failed or were skipped."""

    listed: int | None = None
    """Number of clips in the data set's annotations, on disk or not; None if they do not list this split."""


@dataclass(frozen=True)
class Summary:
    """Summary of a prepared data set, from the tables in its shards."""

    splits: dict[str, SplitSummary]
    classes: dict[str, dict[str, dict[str, int]]]
    """Number of clips by head, class name and split."""

    packings: list[str]
    """Packings in use: one, unless the folder contains shards of another data set."""

    faults: list[Fault]
    """Missing, unreadable and unlisted shards; their clips are not included in `classes` and `hours`."""

    sound: list[str]
    """Files of all other shards."""


def summarise(prepared: Prepared) -> Summary:
    """Count the content of `prepared`; only the index of each shard is read."""
    manifest = prepared.manifest
    left_out = prepared.recorded.left_out or manifest.left_out
    listed = manifest.listed
    there = {shard.split for shard in manifest.shards} | set(left_out) | set(listed)
    splits = {
        split: SplitSummary(left_out=left_out.get(split, 0), listed=listed.get(split))
        for split in SPLITS
        if split in there
    }
    counts = {
        head: {split: np.zeros(len(names), np.int64) for split in splits} for head, names in manifest.classes.items()
    }
    packings: dict[str, None] = {}
    sound: list[str] = []
    faults = unlisted(prepared.folder, manifest.shards) if prepared.finished else []
    for shard in manifest.shards:
        split = splits[shard.split]
        split.clips += shard.clips
        split.frames += shard.frames
        split.bytes += shard.bytes
        split.shards += 1
        try:
            index = open_index(prepared.folder / shard.file, shard, manifest.classes_digest)
        except ShardError as error:
            faults.append(Fault(shard.file, error.what))
            continue
        sound.append(shard.file)
        packings[index.attributes["packing"]] = None
        split.hours += float((index.clips["frames"] / index.clips["fps"]).sum()) / 3600
        for head, of_split in counts.items():
            of_split[shard.split] += _labels(index, head, len(of_split[shard.split]))
    return Summary(splits, _named(counts, manifest.classes), list(packings), faults, sound)


def _labels(index: Index, head: str, classes: int) -> NDArray[np.int64]:
    """Return (classes,) numbers of clips; unlabelled ones are ignored."""
    return clips_per_class(index.clips[f"label_{head}"].astype(np.int64), classes)


def _named(
    counts: dict[str, dict[str, NDArray[np.int64]]], classes: dict[str, list[str]]
) -> dict[str, dict[str, dict[str, int]]]:
    return {
        head: {
            name: {split: int(column[label]) for split, column in of_split.items()}
            for label, name in enumerate(classes[head])
        }
        for head, of_split in counts.items()
    }
