"""Name what happens in videos that nobody prepared."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg

from tdpn_core.checkpoint import load_checkpoint
from tdpn_core.config import DataConfig, RunConfig
from tdpn_core.errors import ClipError
from tdpn_core.evaluate.scores import view_probabilities
from tdpn_core.model.tdpn import TDPN
from tdpn_core.runs import newest_checkpoint
from tdpn_core.runtime import Runtime
from tdpn_core.sampling.dataset import ViewClips
from tdpn_core.shards.frames import decode_jpegs
from tdpn_core.video.decode import probe_video, read_frames

_JPEG_QUALITY = 92
"""Frames pass through JPEG as prepared ones did; this is near preparation's default."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """The likeliest classes of one video, or why there are none."""

    path: Path
    heads: dict[str, list[tuple[str, float]]] = dataclasses.field(default_factory=dict)
    """For each head (class name, probability), the likeliest first; empty if the video failed."""

    error: ClipError | None = None


def predict(
    paths: Sequence[Path],
    *,
    checkpoint: Path | None = None,
    runtime: Runtime,
    views: str | None = None,
    topk: int = 5,
) -> Iterator[Prediction]:
    """The `topk` likeliest classes of each video, one at a time, in order. A video that fails does not stop the rest.

    Sampling, sizes and `views` are the checkpoint's own unless given; `checkpoint` None is the newest best one
    under `runs/`.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    loaded = load_checkpoint(checkpoint or newest_checkpoint())
    model = loaded.build(runtime.device)
    config = loaded.config
    if views is not None:
        config = dataclasses.replace(config, sampling=dataclasses.replace(config.sampling, views=views))
    for path in paths:
        try:
            heads = _heads(model, config, path, topk)
        except ClipError as error:
            yield Prediction(path=path, error=error)
        else:
            yield Prediction(path=path, heads=heads)


class VideoClip:
    """One video file in the place of prepared clips (`ClipSource`), read frame by frame in a child process.

    Raises:
        ClipError: the file cannot be decoded.
    """

    def __init__(self, path: Path, data: DataConfig) -> None:
        self._path = path
        self._info = probe_video(path)
        self._size = self._info.scaled(data.short_side)
        self.ids = [str(path)]
        self.counts: npt.NDArray[np.int64] = np.array([self._info.frames])
        self.classes = data.classes
        self.labels: dict[str, npt.NDArray[np.int64]] = {head: np.array([-1]) for head in data.classes}

    def __len__(self) -> int:
        return 1

    def size(self, clip: int) -> tuple[int, int]:
        """Height and width of the frames that `decode` gives."""
        return self._size

    def decode(self, clip: int, frames: Sequence[int]) -> npt.NDArray[np.uint8]:
        """The frames asked for, (K, H, W, 3), after a round through JPEG."""
        pixels = read_frames(self._path, frames, self._size, info=self._info)
        jpegs = [simplejpeg.encode_jpeg(frame, quality=_JPEG_QUALITY, colorsubsampling="420") for frame in pixels]
        return decode_jpegs(jpegs, frames, *self._size, str(self._path))


def _heads(model: TDPN, config: RunConfig, path: Path, topk: int) -> dict[str, list[tuple[str, float]]]:
    classes = config.data.classes
    sample = ViewClips(VideoClip(path, config.data), config.model, config.sampling)[0]
    result = {}
    for head, values in view_probabilities(model, sample.clip, config.sampling).items():
        mean = values.mean(dim=0)
        best = mean.argsort(descending=True, stable=True)[:topk].tolist()
        result[head] = [(classes[head][label], float(mean[label])) for label in best]
    return result
