"""Real clips for comparing an exported file with its network, and for calibration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from tdpn_core.config.schema import RunConfig
from tdpn_core.errors import ShardError, TdpnError, UsageError
from tdpn_core.exporting.module import frames_of
from tdpn_core.labels import classes_of
from tdpn_core.sampling.dataset import ViewClips
from tdpn_core.shards import ClipStore
from tdpn_core.shards.file_clip import open_clip
from tdpn_core.video.ffmpeg_binary import find_ffmpeg
from tdpn_core.video.inputs import Input, find_inputs
from tdpn_core.video.source import Source

COMPARED = ("val", "test", "train")
"""Splits for comparison clips; the first that exists is used."""

CALIBRATED = ("train", "val", "test")
"""Splits for calibration clips, preferably not those on which accuracy is reported."""


@dataclass(frozen=True)
class RealClip:
    """One view of a clip."""

    name: str
    frames: Tensor
    """(F, H, W, C) uint8."""

    classes: dict[str, frozenset[int]]
    """Its classes by head, several only in multi-label data; without heads whose label is unknown."""


@dataclass(frozen=True)
class RealClips:
    """Clips that are read again in every iteration, so that memory does not grow with their number."""

    names: list[str]
    read: Callable[[int], RealClip]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[RealClip]:
        """
        Raises:
            ClipError: a given clip cannot be read.
        """
        return map(self.read, range(len(self)))


def real_clips(
    config: RunConfig,
    words: Sequence[str | Path] | None,
    count: int,
    *,
    data: Path | None = None,
    splits: Sequence[str] = COMPARED,
) -> RealClips:
    """Return up to `count` clips, evenly spread over those in `words`, else over a split of the prepared `data`.

    Without `data`, use the network's training data.

    Raises:
        UsageError: there are none.
        ClipError: a given clip does not exist.
    """
    config = replace(config, sampling=replace(config.sampling, views="1x1"))
    folder = data or (Path(config.data.path) if config.data.path else None)
    found = _named(config, words, count) if words else _prepared(config, folder, splits, count)
    if not found:
        hint = "give videos with --clips, or prepared data with --data"
        raise UsageError("no clip to compare with", where=folder, hint=hint)
    return found


def _spread(number: int, count: int) -> list[int]:
    """Return up to `count` evenly spaced numbers below `number`."""
    return sorted(set(np.linspace(0, number - 1, min(count, number)).round().astype(int).tolist()))


def _prepared(config: RunConfig, folder: Path | None, splits: Sequence[str], count: int) -> RealClips | None:
    store = _store(config, folder, splits) if folder is not None else None
    if store is None:
        return None
    labels = _Labels(store, config)
    views = ViewClips(store, config.model, config.sampling)
    chosen = _spread(len(store), count)

    def read(place: int) -> RealClip:
        clip = chosen[place]
        return RealClip(store.ids[clip], frames_of(views[clip].clip[0]), labels.of(clip))

    return RealClips([store.ids[clip] for clip in chosen], read)


def _store(config: RunConfig, folder: Path, splits: Sequence[str]) -> ClipStore | None:
    """Return the first existing split with clips of the network's modality."""
    for split in splits:
        try:
            store = ClipStore(folder, split)
        except ShardError:
            continue
        if len(store) and store.manifest.settings.get("modality", "rgb") == config.model.modality:
            return store
    return None


class _Labels:
    """Labels of prepared clips in the network's class numbering, matched by name."""

    def __init__(self, store: ClipStore, config: RunConfig) -> None:
        self._store = store
        known = {head: {name: label for label, name in enumerate(names)} for head, names in config.data.classes.items()}
        self._places = {
            head: [known[head].get(name, -1) for name in names]
            for head, names in store.classes.items()
            if head in known
        }

    def of(self, clip: int) -> dict[str, frozenset[int]]:
        """Return the classes for common heads; none without a label that the network knows."""
        own = {
            head: frozenset(self._places[head][label] for label in classes_of(self._store.labels[head], clip)) - {-1}
            for head in self._places
        }
        return {head: classes for head, classes in own.items() if classes}


def _named(config: RunConfig, words: Sequence[str | Path], count: int) -> RealClips:
    program = find_ffmpeg()
    found = find_inputs(words)
    chosen = [found[place] for place in _spread(len(found), count)]
    sources = [_source(each) for each in chosen]

    def read(place: int) -> RealClip:
        name = chosen[place].name
        with open_clip(sources[place], config.data, program, name=name) as clip:
            sample = ViewClips(clip, config.model, config.sampling)[0]
        return RealClip(name, frames_of(sample.clip[0]), {})

    return RealClips([each.name for each in chosen], read)


def _source(found: Input) -> Source:
    if found.error is not None:
        raise found.error
    if found.source is None:
        raise TdpnError("only files and folders are compared with", where=found.name)
    return found.source
