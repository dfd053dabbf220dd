"""Select the frames of a clip to read, by arithmetic on frame numbers.

A clip of `count` frames has the frames 0 .. count - 1. T is the number of sampled frames.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tdpn_core.config.schema import SamplingConfig

Indices = npt.NDArray[np.int64]


def training_indices(count: int, num_frames: int, sampling: SamplingConfig, rng: np.random.Generator) -> Indices:
    """Draw T = `num_frames` frames at random, shape (T,)."""
    if sampling.mode == "segments":
        return segment_frames(count, rng.random(num_frames))
    start = rng.integers(last_start(count, num_frames, sampling.interval) + 1)
    return dense_frames(count, num_frames, sampling.interval, int(start))


def view_indices(count: int, num_frames: int, sampling: SamplingConfig, views: int) -> Indices:
    """Return T = `num_frames` frames for each of `views` test clips, evenly spread in time, shape (views, T)."""
    if sampling.mode == "segments":
        points = (np.arange(views) + 0.5) / views
        return np.stack([segment_frames(count, np.full(num_frames, point)) for point in points])
    last = last_start(count, num_frames, sampling.interval)
    starts = [last // 2] if views == 1 else [view * last // (views - 1) for view in range(views)]
    return np.stack([dense_frames(count, num_frames, sampling.interval, start) for start in starts])


def last_start(count: int, num_frames: int, interval: int) -> int:
    """Return the largest start frame of a dense clip that ends within the video; 0 if the video is too short."""
    span = (num_frames - 1) * interval + 1
    return max(count - span, 0)


def dense_frames(count: int, num_frames: int, interval: int, start: int) -> Indices:
    """Return every `interval`-th frame from `start`, shape (T,); past its end, the video is looped."""
    return (start + interval * np.arange(num_frames)) % count


def segment_frames(count: int, points: npt.NDArray[np.float64]) -> Indices:
    """Return one frame from each of T equal parts of the video (Wang et al., TSN), shape (T,).

    `points` (T,) in [0, 1) are positions within the parts. A video of fewer than T frames repeats some, in order.
    """
    num_frames = len(points)
    frames = ((np.arange(num_frames) + points) * count / num_frames).astype(np.int64)
    return np.minimum(frames, count - 1)  # a point just below 1 may round up


def with_window(indices: Indices, count: int, window: int) -> Indices:
    """Expand each index i to `window` consecutive source frames (i - 2 .. i + 2 for 5), (..., T) → (..., T * window).

    Groups are ordered by their centre frames; at the video's ends the nearest frame repeats.
    """
    around = np.arange(window) - window // 2
    frames: Indices = np.clip(indices[..., None] + around, 0, count - 1)
    return frames.reshape(*indices.shape[:-1], -1)
