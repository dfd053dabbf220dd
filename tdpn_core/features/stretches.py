"""Inputs of a clip for feature extraction: its test views, or segments at a fixed interval in time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tdpn_core.config.schema import ModelConfig, RunConfig, SamplingConfig, parse_views
from tdpn_core.sampling import transforms as pixels
from tdpn_core.sampling.clip_source import ClipSource
from tdpn_core.sampling.frame_indices import (
    Indices,
    dense_frames,
    last_start,
    segment_frames,
    view_indices,
    with_window,
)
from tdpn_core.shards.file_clip import StreamedClip
from tdpn_core.video.stream import StreamedFrame

_ROUNDING = 1e-9  # seconds by which equal times may differ

Times = npt.NDArray[np.float64]


class Rows(NamedTuple):
    """The network's inputs for one clip."""

    clip: Tensor
    """(rows, channels, frames, H, W), uint8."""

    number: int
    start: Times
    end: Times
    """(rows,) time of the first and of the last frame of each row, in seconds."""


class TimedClips(ClipSource, Protocol):
    """Clips whose frames have times."""

    def times(self, clip: int) -> Times:
        """Return the (K,) seconds of a clip's frames from its first."""


class Stretches(Dataset[Rows]):
    """Dataset of `Rows` by clip index. `stride` is in seconds; None: rows are the clip's test views."""

    def __init__(
        self, source: TimedClips, model: ModelConfig, sampling: SamplingConfig, stride: float | None = None
    ) -> None:
        self.source = source
        self.model = model
        self.sampling = sampling if stride is None else replace(sampling, views="1x1")
        self.stride = stride

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, clip: int) -> Rows:
        count, times = int(self.source.counts[clip]), self.source.times(clip)
        sampled = self._indices(count, times)
        views, crops = _views(self.source, clip, sampled, count, self.model, self.sampling)
        start, end = times[sampled.min(1)], times[sampled.max(1)]
        return Rows(views, clip, np.repeat(start, crops), np.repeat(end, crops))

    def _indices(self, count: int, times: Times) -> Indices:
        """Return the indices of sampled frames, (rows, T)."""
        frames, interval = self.model.num_frames, self.sampling.interval
        if self.stride is None:
            return view_indices(count, frames, self.sampling, parse_views(self.sampling.views)[0])
        wanted = np.arange(0.0, float(times[-1]) + _ROUNDING, self.stride)
        starts = np.searchsorted(times + _ROUNDING, wanted, side="left")
        if self.sampling.mode == "dense":
            first = np.minimum(starts, last_start(count, frames, interval))
            return np.stack([dense_frames(count, frames, interval, int(start)) for start in np.unique(first)])
        ends = [*starts[1:].tolist(), count]
        return np.stack([_spread(start, end, frames) for start, end in zip(starts.tolist(), ends, strict=True)])


def stream_stretches(frames: Iterable[StreamedFrame], config: RunConfig, stride: float, *, name: str) -> Iterator[Rows]:
    """Yield the rows of `Stretches` with a stride, one at a time, while a video is decoded.

    Memory grows with the stride and the length of a row, not with the video. Times are on the stream's clock.
    """
    sampling = replace(config.sampling, views="1x1")
    held = _Held()
    for sampled in _sampled(held.watch(frames), config.model, sampling, stride, held):
        clip, rows = StreamedClip(list(held.frames), config.data, name), sampled[None] - held.first
        views, _ = _views(clip, 0, rows, len(held.frames), config.model, sampling)
        start, end = (np.array([held.frames[number].seconds]) for number in (rows.min(), rows.max()))
        yield Rows(views, 0, start, end)


def _sampled(
    times: Iterable[float], model: ModelConfig, sampling: SamplingConfig, stride: float, held: _Held
) -> Iterator[Indices]:
    """Yield the sampled frames (T,) of each row, once the frames around them have arrived."""
    dense = sampling.mode == "dense"
    span, margin = (model.num_frames - 1) * sampling.interval + 1, model.frames_per_step // 2
    starts: deque[int] = deque()  # first frames of the rows that are not complete
    begun, before = 0, -1
    origin = math.nan

    def row(count: int) -> Indices | None:
        nonlocal before
        start = starts.popleft()
        if not dense:
            return _spread(start, starts[0] if starts else count, model.num_frames)
        start = min(start, last_start(count, model.num_frames, sampling.interval))
        again, before = start == before, start
        return None if again else dense_frames(count, model.num_frames, sampling.interval, start)

    for seconds in times:
        origin = seconds if math.isnan(origin) else origin
        while begun * stride <= seconds - origin + _ROUNDING:
            starts.append(held.count - 1)
            begun += 1
        while starts and (dense or len(starts) > 1):
            if held.count < (starts[0] + span if dense else max(starts[1], starts[0] + 1)) + margin:
                break
            if (found := row(held.count)) is not None:
                yield found
        oldest = starts[0] if starts else held.count
        held.forget((min(oldest, held.count - span) if dense else oldest) - margin)
    while starts:
        if (found := row(held.count)) is not None:
            yield found


class _Held:
    """The last frames of a stream."""

    def __init__(self) -> None:
        self.frames: deque[StreamedFrame] = deque()
        self.first = 0
        """Number of the first one from the stream's start."""

    @property
    def count(self) -> int:
        """Frames of the stream so far."""
        return self.first + len(self.frames)

    def watch(self, frames: Iterable[StreamedFrame]) -> Iterator[float]:
        """Hold each frame, and yield its time."""
        for frame in frames:
            self.frames.append(frame)
            yield frame.seconds

    def forget(self, before: int) -> None:
        """Drop the frames with lower numbers."""
        while self.first < before:
            self.frames.popleft()
            self.first += 1


def _spread(start: int, end: int, num_frames: int) -> Indices:
    """Return frames spread evenly from `start` to before `end`."""
    return start + segment_frames(max(end - start, 1), np.full(num_frames, 0.5))


def _views(
    source: ClipSource, clip: int, sampled: Indices, count: int, model: ModelConfig, sampling: SamplingConfig
) -> tuple[Tensor, int]:
    """Return the inputs (rows, channels, frames, H, W) with the sampled frames (rows, T), and the crops of each."""
    _, crops = parse_views(sampling.views)
    frames, order = np.unique(with_window(sampled, count, model.frames_per_step), return_inverse=True)
    order = order.reshape(len(sampled), -1)
    cropped = pixels.view_crops(pixels.decode(source, clip, frames), crops, sampling, model.input_size)
    views = [pixels.arrange(cropped[crop], order[row]) for row in range(len(sampled)) for crop in range(crops)]
    return torch.stack(views), crops
