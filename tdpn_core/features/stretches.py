"""Inputs of a clip for feature extraction: its test views, or segments at a fixed interval in time."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tdpn_core.config.schema import ModelConfig, SamplingConfig, parse_views
from tdpn_core.sampling import transforms as pixels
from tdpn_core.sampling.frame_indices import dense_frames, last_start, segment_frames, view_indices, with_window
from tdpn_core.shards import ClipStore

Times = npt.NDArray[np.float64]


class Rows(NamedTuple):
    """The network's inputs for one clip."""

    clip: Tensor
    """(rows, channels, frames, H, W), uint8."""

    number: int
    start: Times
    end: Times
    """(rows,) time of the first and of the last frame of each row, in seconds."""


class Stretches(Dataset[Rows]):
    """Dataset of `Rows` by clip index. `stride` is in seconds; None: rows are the clip's test views."""

    def __init__(
        self, source: ClipStore, model: ModelConfig, sampling: SamplingConfig, stride: float | None = None
    ) -> None:
        self.source = source
        self.model = model
        self.sampling = sampling if stride is None else replace(sampling, views="1x1")
        self.stride = stride

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, clip: int) -> Rows:
        _, crops = parse_views(self.sampling.views)
        count, times = int(self.source.counts[clip]), self.source.times(clip)
        sampled = self._indices(count, times)
        frames, order = np.unique(with_window(sampled, count, self.model.frames_per_step), return_inverse=True)
        order = order.reshape(len(sampled), -1)
        decoded = pixels.decode(self.source, clip, frames)
        cropped = pixels.view_crops(decoded, crops, self.sampling, self.model.input_size)
        views = [pixels.arrange(cropped[crop], order[row]) for row in range(len(sampled)) for crop in range(crops)]
        start, end = times[sampled.min(1)], times[sampled.max(1)]
        return Rows(torch.stack(views), clip, np.repeat(start, crops), np.repeat(end, crops))

    def _indices(self, count: int, times: Times) -> npt.NDArray[np.int64]:
        """Return the indices of sampled frames, (rows, T)."""
        frames, interval = self.model.num_frames, self.sampling.interval
        if self.stride is None:
            return view_indices(count, frames, self.sampling, parse_views(self.sampling.views)[0])
        starts = np.searchsorted(times, np.arange(0.0, float(times[-1]) + 1e-9, self.stride), side="left")
        if self.sampling.mode == "dense":
            first = np.minimum(starts, last_start(count, frames, interval))
            return np.stack([dense_frames(count, frames, interval, int(start)) for start in np.unique(first)])
        ends = [*starts[1:].tolist(), count]
        points = np.full(frames, 0.5)
        return np.stack(
            [start + segment_frames(max(end - start, 1), points) for start, end in zip(starts, ends, strict=True)]
        )
