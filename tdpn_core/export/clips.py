"""Real clips, as the network sees them: to compare an exported file with it, and to calibrate on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from tdpn_core.config import RunConfig
from tdpn_core.errors import ShardError, TdpnError, UsageError
from tdpn_core.export.module import frames_of
from tdpn_core.predict.clip import open_clip
from tdpn_core.predict.inputs import find_inputs
from tdpn_core.sampling.dataset import ViewClips
from tdpn_core.shards import ClipStore
from tdpn_core.video.program import find_ffmpeg

_SPLITS = ("val", "test", "train")


@dataclass(frozen=True)
class RealClip:
    """One view of a clip."""

    name: str
    frames: Tensor
    """(F, H, W, C) uint8."""

    labels: dict[str, int]
    """For each head; -1 where it is not known."""


def real_clips(config: RunConfig, words: Sequence[str | Path] | None, count: int) -> list[RealClip]:
    """Up to `count` clips: those that `words` name, else of the data that the network was trained on, evenly spread.

    Raises:
        UsageError: there are none.
        ClipError: one that was named cannot be read.
    """
    config = replace(config, sampling=replace(config.sampling, views="1x1"))
    found = list(_named(config, words, count) if words else _prepared(config, count))
    if not found:
        hint = "name some videos with --clips, or prepare the data again"
        raise UsageError("no clip to compare with", where=config.data.path, hint=hint)
    return found


def _prepared(config: RunConfig, count: int) -> Iterator[RealClip]:
    store = _store(config)
    if store is None:
        return
    views = ViewClips(store, config.model, config.sampling)
    for index in sorted(set(np.linspace(0, len(store) - 1, min(count, len(store))).round().astype(int).tolist())):
        sample = views[index]
        yield RealClip(store.ids[index], frames_of(sample.clip[0]), dict(sample.labels))


def _store(config: RunConfig) -> ClipStore | None:
    """The prepared clips that the network was not trained on, if they are there."""
    for split in _SPLITS:
        try:
            store = ClipStore(Path(config.data.path), split)
        except ShardError:
            continue
        if store.classes == config.data.classes:
            return store
    return None


def _named(config: RunConfig, words: Sequence[str | Path], count: int) -> Iterator[RealClip]:
    program = find_ffmpeg()
    for found in find_inputs(words)[:count]:
        if found.error is not None:
            raise found.error
        if found.source is None:
            raise TdpnError("only files and folders are compared with", where=found.name)
        with open_clip(found.source, config.data, program, name=found.name) as clip:
            sample = ViewClips(clip, config.model, config.sampling)[0]
        yield RealClip(found.name, frames_of(sample.clip[0]), dict(sample.labels))
