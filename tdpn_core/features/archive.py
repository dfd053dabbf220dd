"""What `features --archive` computes of each video: rows of features, one decode of the video."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from tdpn_core.archive import Outcome
from tdpn_core.archive.table import Column, Row
from tdpn_core.checkpoint import Checkpoint
from tdpn_core.errors import ClipError, ClipTooLong, UsageError
from tdpn_core.evaluation.inference import VIEWS_AT_ONCE
from tdpn_core.features.extract import FeatureOptions
from tdpn_core.features.frozen import build_frozen, compute_features, open_frozen
from tdpn_core.features.store import COLUMNS
from tdpn_core.features.stretches import Rows, Stretches, stream_stretches
from tdpn_core.files import digest_file
from tdpn_core.model.base import Network
from tdpn_core.shards.file_clip import encoding_of, open_clip
from tdpn_core.video.ffmpeg_binary import Program, find_ffmpeg
from tdpn_core.video.inputs import Input
from tdpn_core.video.source import Source
from tdpn_core.video.stream import stream_video

TABLE = "features.parquet"
"""Default name of the table in a folder."""


@dataclass(frozen=True)
class FeatureWork:
    """The features of each video: a row for each test view, or with a stride for each segment."""

    checkpoint: Path
    options: FeatureOptions
    columns: ClassVar[Sequence[Column]] = COLUMNS
    doing: ClassVar[str] = "extracting features"

    def check(self) -> None:
        """
        Raises:
            UsageError: an option is invalid, or is for prepared data.
        """
        self.options.check()
        if self.options.splits:
            raise UsageError("only prepared data has splits", where="--split", hint="leave it out")

    def absolute(self) -> FeatureWork:
        """Return the same work with absolute paths, for processes in other folders."""
        return FeatureWork(self.checkpoint.absolute(), replace(self.options, splits=()))

    def key(self) -> str:
        """Return a digest of the network and of all options that change a result."""
        asked = self.options
        text = json.dumps([digest_file(self.checkpoint), asked.stride, asked.views, asked.size, asked.frames])
        return hashlib.sha256(text.encode()).hexdigest()

    def open(self, device: torch.device) -> Callable[[Input], Outcome]:
        """Load the network; returns what computes the features of a video.

        Raises:
            CheckpointError: the checkpoint is damaged or of an unknown project.
            UsageError: options contradict the checkpoint.
        """
        asked = self.options
        frozen = open_frozen(self.checkpoint, size=asked.size, frames=asked.frames, views=asked.views)
        extractor = _Extractor(frozen, build_frozen(frozen, device), device, find_ffmpeg(), asked.stride)
        return lambda clip: Outcome(extractor.rows(clip))


@dataclass(frozen=True)
class _Extractor:
    """A network that computes features of videos."""

    frozen: Checkpoint
    model: Network
    device: torch.device
    program: Program
    stride: float | None

    def rows(self, clip: Input) -> Iterator[Row]:
        """Yield the rows of a video while it is decoded.

        Raises:
            ClipError: it cannot be decoded, is incomplete, or is no file.
        """
        if clip.error is not None:
            raise clip.error
        if clip.source is None:
            raise ClipError("is not a file", where=clip.name, hint="download it first")
        try:
            for rows in self._batches(clip.source, clip.name):
                values = compute_features(self.model, rows.clip, self.frozen.config.sampling).mean(axis=1)
                yield from zip([clip.name] * len(values), rows.start.tolist(), rows.end.tolist(), values, strict=True)
        except ClipTooLong as error:
            raise ClipTooLong(error.what, where=clip.name, hint="add --stride SECONDS") from error
        except ClipError as error:
            raise type(error)(error.what, where=clip.name, hint=error.hint) from error

    def _batches(self, source: Source, name: str) -> Iterator[Rows]:
        """Yield inputs of the network, a few rows at a time."""
        size = VIEWS_AT_ONCE["cuda" if self.device.type == "cuda" else "cpu"]
        config = self.frozen.config
        if self.stride is None:
            with open_clip(source, config.data, self.program, name=name) as clip:
                every = Stretches(clip, config.model, config.sampling)[0]
            for start in range(0, len(every.clip), size):
                part = slice(start, start + size)
                yield Rows(every.clip[part], 0, every.start[part], every.end[part])
        elif source.kind == "video":
            frames = stream_video(source, self.program, encoding_of(config.data))
            yield from _joined(stream_stretches(frames, config, self.stride, name=name), size)
        else:
            with open_clip(source, config.data, self.program, name=name) as clip:
                yield from _joined(stream_stretches(clip.frames(), config, self.stride, name=name), size)


def _joined(rows: Iterator[Rows], size: int) -> Iterator[Rows]:
    """Yield `size` rows at a time."""
    while some := list(islice(rows, size)):
        start, end = (np.concatenate([getattr(one, name) for one in some]) for name in ("start", "end"))
        yield Rows(torch.cat([one.clip for one in some]), 0, start, end)
