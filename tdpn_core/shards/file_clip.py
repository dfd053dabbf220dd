"""Read a single file or stream like a prepared clip: its frames pass through the encoder of `prep`.

The network gets bit-identical pixels from a shard and from the file behind it, and a file that `prep` would skip is
refused here for the same reason.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg

from tdpn_core.config.schema import DataConfig, from_dict
from tdpn_core.errors import ClipError
from tdpn_core.shards.decode import decode_frames
from tdpn_core.shards.format import Packing
from tdpn_core.video.encode import encode_clip
from tdpn_core.video.encode_options import EncodedClip, Encoding
from tdpn_core.video.ffmpeg_binary import Program
from tdpn_core.video.source import Source
from tdpn_core.video.stream import StreamedFrame
from tdpn_core.video.subprocess_limits import Limits

LIMITS = Limits(seconds=600.0)
"""Limits of the decoder of a clip that is read at once."""


class FileClip:
    """An encoded clip in a scratch file, as a `ClipSource` with one unlabelled clip."""

    def __init__(self, name: str, items: Path, clip: EncodedClip, packing: Packing, data: DataConfig) -> None:
        self.items = items
        """File with the consecutive items; for JPEG, a stream that ffmpeg reads as `mjpeg`."""
        self.clip = clip
        self.packing: Packing = packing
        self.ids = [name]
        self.counts: npt.NDArray[np.int64] = np.array([clip.frames])
        self.classes = data.classes
        self.labels: dict[str, npt.NDArray[np.int64]] = {head: np.array([-1]) for head in data.classes}
        self._ends = np.cumsum(clip.sizes)

    def __len__(self) -> int:
        return 1

    def size(self, clip: int) -> tuple[int, int]:
        """Return height and width of the decoded frames."""
        return self.clip.height, self.clip.width

    def decode(self, clip: int, frames: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Return the given frames, (K, H, W, 3) RGB or (K, H, W, 2) flow, decoded exactly as by a store."""
        return decode_frames(self.packing, self.read, frames, *self.size(clip), self.ids[0])

    def times(self, clip: int = 0) -> npt.NDArray[np.float64]:
        """Return the (K,) seconds of the frames from the first one."""
        even: npt.NDArray[np.float64] = np.arange(self.clip.frames) / self.clip.fps
        return even if self.clip.times is None else self.clip.times

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return float(self.times()[-1]) + 1 / self.clip.fps

    def frames(self) -> Iterator[StreamedFrame]:
        """Yield the frames of a clip packed as JPEG or as flow."""
        each = 2 if self.packing == "flow" else 1
        for number, seconds in enumerate(self.times().tolist()):
            yield StreamedFrame(tuple(self.read(range(each * number, each * (number + 1)))), seconds)

    def read(self, items: Sequence[int]) -> list[bytes]:
        """Return the bytes of the given items, numbered from 0."""
        with self.items.open("rb", buffering=0) as file:
            return [
                os.pread(file.fileno(), int(self.clip.sizes[item]), int(self._ends[item] - self.clip.sizes[item]))
                for item in items
            ]


class StreamedClip:
    """Some frames of a stream as a `ClipSource` with one unlabelled clip, numbered from 0."""

    def __init__(self, frames: Sequence[StreamedFrame], data: DataConfig, name: str) -> None:
        self._frames = frames
        self._packing: Packing = "flow" if len(frames[0].items) == 2 else "jpeg"
        height, width, *_ = simplejpeg.decode_jpeg_header(frames[0].items[0])
        self._size = (height, width)
        self.ids = [name]
        self.counts: npt.NDArray[np.int64] = np.array([len(frames)])
        self.classes = data.classes
        self.labels: dict[str, npt.NDArray[np.int64]] = {head: np.array([-1]) for head in data.classes}

    def __len__(self) -> int:
        return 1

    def size(self, clip: int) -> tuple[int, int]:
        """Return height and width of the frames."""
        return self._size

    def decode(self, clip: int, frames: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Return the given frames, (K, H, W, 3) RGB or (K, H, W, 2) flow, decoded exactly as by a store."""
        return decode_frames(self._packing, self._read, frames, *self._size, self.ids[0])

    def _read(self, items: Sequence[int]) -> list[bytes]:
        each = 2 if self._packing == "flow" else 1
        return [self._frames[item // each].items[item % each] for item in items]


def encoding_of(data: DataConfig, max_pixels: int | None = None) -> Encoding:
    """Return the encoding of a network's training data; `max_pixels` replaces its limit."""
    encoding = from_dict(Encoding, {**data.encoding, "short_side": data.short_side})
    return encoding if max_pixels is None else replace(encoding, max_pixels=max_pixels)


@contextmanager
def open_clip(
    source: Source,
    data: DataConfig,
    program: Program,
    *,
    name: str,
    limits: Limits = LIMITS,
    max_pixels: int | None = None,
) -> Iterator[FileClip]:
    """Encode a file, or a part of it, like `data`; the scratch file is removed afterwards. `name` is for messages.

    Raises:
        ClipError: it cannot be decoded, is incomplete, or is larger or longer than `prep` allows.
    """
    encoding = encoding_of(data, max_pixels)
    packing: Packing = "flow" if encoding.modality == "flow" else encoding.codec
    with tempfile.TemporaryDirectory(prefix="tdpn-") as folder:
        items = Path(folder) / "clip"
        try:
            clip = encode_clip(source, items, program, encoding, limits=limits)
        except ClipError as error:
            raise type(error)(error.what, where=name, hint=error.hint) from error
        yield FileClip(name, items, clip, packing, data)
