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


def real_clips(
    config: RunConfig, words: Sequence[str | Path] | None, count: int, *, data: Path | None = None
) -> list[RealClip]:
    """Up to `count` clips: those that `words` name, else of the prepared `data`, evenly spread.

    Without `data` they are of that which the network was trained on.

    Raises:
        UsageError: there are none.
        ClipError: one that was named cannot be read.
    """
    config = replace(config, sampling=replace(config.sampling, views="1x1"))
    folder = data or (Path(config.data.path) if config.data.path else None)
    found = list(_named(config, words, count) if words else _prepared(config, folder, count))
    if not found:
        hint = "name some videos with --clips, or prepared data with --data"
        raise UsageError("no clip to compare with", where=folder, hint=hint)
    return found


def _prepared(config: RunConfig, folder: Path | None, count: int) -> Iterator[RealClip]:
    store = _store(config, folder) if folder is not None else None
    if store is None:
        return
    labels = _Labels(store, config)
    views = ViewClips(store, config.model, config.sampling)
    for index in sorted(set(np.linspace(0, len(store) - 1, min(count, len(store))).round().astype(int).tolist())):
        sample = views[index]
        yield RealClip(store.ids[index], frames_of(sample.clip[0]), labels.of(index))


def _store(config: RunConfig, folder: Path) -> ClipStore | None:
    """The prepared clips that the network was not trained on, if they are there."""
    for split in _SPLITS:
        try:
            store = ClipStore(folder, split)
        except ShardError:
            continue
        if len(store) and store.manifest.settings.get("modality", "rgb") == config.model.modality:
            return store
    return None


class _Labels:
    """Labels of prepared clips as the network numbers its classes; by name, which it may not have."""

    def __init__(self, store: ClipStore, config: RunConfig) -> None:
        self._store = store
        known = {head: {name: label for label, name in enumerate(names)} for head, names in config.data.classes.items()}
        self._places = {
            head: [known[head].get(name, -1) for name in names]
            for head, names in store.classes.items()
            if head in known
        }

    def of(self, clip: int) -> dict[str, int]:
        """Of each head that both have; -1 where it is not known."""
        own = {head: int(self._store.labels[head][clip]) for head in self._places}
        return {head: -1 if label < 0 else self._places[head][label] for head, label in own.items()}


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
