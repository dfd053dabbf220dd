"""Small videos of prepared clips to embed in a page."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np
import numpy.typing as npt

from tdpn_core.errors import ClipError, ShardError
from tdpn_core.shards import ClipStore
from tdpn_core.video.ffmpeg_binary import Program, find_ffmpeg
from tdpn_core.video.subprocess_limits import Limits, run_child

SIDE = 128
"""Largest shorter side of a preview in pixels."""

FRAMES = 48
"""Largest number of frames of a preview; of longer clips, evenly spaced frames."""

MOST_BYTES = 150_000
"""Larger previews are encoded again at a lower quality."""

_LIMITS = Limits(seconds=60.0, output_bytes=64 << 20)
_COARSER = (30, 38, 46)


class Films:
    """Previews of the clips of a split by name, each encoded once."""

    def __init__(self, data: Path, split: str) -> None:
        self._data, self._split = data, split
        self._made: dict[str, bytes] = {}

    def of(self, name: str) -> bytes:
        """See `preview`.

        Raises:
            ShardError: the data or the clip is missing or damaged.
            ClipError: the clip cannot be read or encoded.
        """
        if name not in self._made:
            store, rows, program = self._opened
            if name not in rows:
                raise ShardError("is not in the prepared data", where=name)
            self._made[name] = preview(store, rows[name], program)
        return self._made[name]

    @cached_property
    def _opened(self) -> tuple[ClipStore, dict[str, int], Program]:
        store = ClipStore(self._data, self._split)
        return store, {name: row for row, name in enumerate(store.ids)}, find_ffmpeg()


def preview(store: ClipStore, clip: int, program: Program) -> bytes:
    """Encode a clip as H.264 in MP4, at its original speed.

    Raises:
        ClipError: it cannot be read or encoded, or not within `MOST_BYTES`.
        ShardError: the shard is missing or damaged.
    """
    count = int(store.counts[clip])
    chosen = np.unique(np.linspace(0, count - 1, min(count, FRAMES)).round().astype(np.int64))
    frames = _coloured(store.decode(clip, chosen.tolist()))
    rate = float(store.fps[clip]) * len(chosen) / count
    for quality in _COARSER:
        film = _encode(frames, rate, quality, program, store.ids[clip])
        if len(film) <= MOST_BYTES:
            return film
    raise ClipError(f"a film of it has {len(film)} bytes", where=store.ids[clip])


def _coloured(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return (K, H, W, 3): RGB frames unchanged; for optical flow (K, H, W, 2), both directions as green and blue."""
    if frames.shape[-1] == 3:
        return frames
    return np.concatenate([np.full_like(frames[..., :1], 128), frames], axis=-1)


def _encode(frames: npt.NDArray[np.uint8], rate: float, quality: int, program: Program, name: str) -> bytes:
    height, width = frames.shape[1:3]
    small = f"min({SIDE},trunc(i{{}}/2)*2)"
    scale = ("-2", small.format("h")) if width >= height else (small.format("w"), "-2")
    raw: dict[str, Any] = {
        "format": "rawvideo",
        "pixel_format": "rgb24",
        "video_size": (width, height),
        "framerate": f"{rate:.6f}",
    }
    stream = ffmpeg.input("pipe:0", **raw).filter("scale", w=scale[0], h=scale[1]).filter("format", "yuv420p")
    options = {"preset": "veryfast", "crf": quality, "movflags": "frag_keyframe+empty_moov", "fflags": "+bitexact"}
    output = stream.output("pipe:1", format="mp4", vcodec="libx264", threads=1, **{"flags:v": "+bitexact", **options})
    command = output.global_args("-hide_banner", "-nostats", "-loglevel", "error").compile(cmd=program.path)
    done = run_child([str(part) for part in command], _LIMITS, where=Path(name), feed=(frame.data for frame in frames))
    if done.status or not done.output:
        raise ClipError(f"cannot be shown: {done.log.strip()[-160:]}", where=name)
    return done.output
