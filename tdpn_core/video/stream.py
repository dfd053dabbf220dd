"""The frames of a video while they are decoded, each as the JPEGs that preparation would store: one, or two of flow.

For videos too long to be kept, or without an end. Memory holds what is asked for, whatever the length.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from tdpn_core.errors import ClipError
from tdpn_core.video.address import Address
from tdpn_core.video.child import Finished, Limits, stream_child
from tdpn_core.video.command import CLOCK, address_command, video_command
from tdpn_core.video.encoding import Encoding
from tdpn_core.video.fetch import lost, why_not
from tdpn_core.video.flow import Compute, Grey, encode_flow, flow_computer, flow_method, jpeg_quality, read_grey
from tdpn_core.video.log import Decoded, avi_frames, no_frames, read_header
from tdpn_core.video.program import Program
from tdpn_core.video.source import Source

SILENCE = Limits(seconds=60.0)
"""Nothing may come for so long, and a frame may need so much memory."""

_ENDLESS = 2**31 - 2


class StreamedFrame(NamedTuple):
    """One frame, or the optical flow from one to the next."""

    items: tuple[bytes, ...]
    """JPEG files: one of colours, or two grey ones, of the flow's u and v."""

    seconds: float
    """Since the video's start."""


def stream_video(source: Source, program: Program, encoding: Encoding) -> Iterator[StreamedFrame]:
    """Every frame of a video file, or of a part of it. Times count from the part's start.

    Raises:
        ClipError: it cannot be decoded; at the end, when it turns out not to be whole.
        ToolError: optical flow is asked for, and OpenCV is not installed.
    """
    return _packed(_of_file(source, program, encoding), encoding)


def _of_file(source: Source, program: Program, encoding: Encoding) -> Iterator[_Picture]:
    path = source.path
    if not path.is_file():
        raise ClipError("no such file" if not path.exists() else "not a regular file", where=path)
    command = video_command(path, program, _as_pictures(encoding), source.start, source.stop)
    count, end = 0, 0.0
    frames = _Frames(command, str(path))
    for frame in frames:
        count, end = count + 1, max(end, frame.seconds)
        yield frame
    finished = frames.finished
    header = read_header(finished.log)
    if count == 0 or header is None:
        raise no_frames(finished.log, path, encoding.max_pixels)
    fps = encoding.fps or header.fps or count / max(end, 1e-3)
    header = header if encoding.fps is None else replace(header, fps=encoding.fps)
    seconds = (header.video_seconds or header.seconds) if source.whole else None
    promised = avi_frames(path) if source.whole else None
    fault = Decoded(finished.log, header, count, end + 1 / fps, fps, seconds, promised).cut() if source.whole else None
    if fault or finished.status != 0:
        raise ClipError(fault or f"decoder failed with status {finished.status}", where=path)


def stream_address(
    address: Address, program: Program, encoding: Encoding, stop: float = math.nan
) -> Iterator[StreamedFrame]:
    """Every frame that comes from an address, until second `stop`.

    Raises:
        ClipError: it cannot be opened, or breaks off.
        ToolError: optical flow is asked for, and OpenCV is not installed.
    """
    return _packed(_of_address(address, program, encoding, stop), encoding)


def _of_address(address: Address, program: Program, encoding: Encoding, stop: float) -> Iterator[_Picture]:
    frames = _Frames(address_command(address, program, _as_pictures(encoding), stop), address.name)
    count = 0
    for frame in frames:
        count += 1
        yield frame
    if count == 0 or frames.finished.status != 0 or lost(frames.finished.log):
        raise ClipError(why_not(frames.finished.log), where=address.name)


def _packed(pictures: Iterator[_Picture], encoding: Encoding) -> Iterator[StreamedFrame]:
    """Pictures as they are stored; of flow, of each pair of successive ones, or of the only one to itself."""
    method = flow_method(encoding)
    if method is None:
        return (StreamedFrame((picture.content,), picture.seconds) for picture in pictures)
    return _flow(pictures, flow_computer(method), jpeg_quality(encoding.quality))


def _flow(pictures: Iterator[_Picture], compute: Compute, quality: int) -> Iterator[StreamedFrame]:
    last: tuple[Grey, float] | None = None
    alone = True
    for picture in pictures:
        grey = read_grey(picture.content)
        if last is not None:
            yield StreamedFrame(encode_flow(compute(last[0], grey), quality), last[1])
            alone = False
        last = (grey, picture.seconds)
    if last is not None and alone:
        yield StreamedFrame(encode_flow(compute(last[0], last[0]), quality), last[1])


class _Picture(NamedTuple):
    """What the decoder gave: a JPEG file, or of flow a PGM."""

    content: bytes
    seconds: float


class _Frames:
    """A running decoder's pictures, cut by the sizes that come beside them."""

    def __init__(self, command: list[str], where: str) -> None:
        self._command, self._where = command, where
        self.finished = Finished(0, b"", b"", "")
        """Set at the end."""

    def __iter__(self) -> Iterator[_Picture]:
        child = stream_child(self._command, SILENCE, where=self._where)
        pixels, lines = bytearray(), b""
        coming: deque[tuple[float, int]] = deque()
        try:
            while True:
                try:
                    name, data = next(child)
                except StopIteration as ended:
                    self.finished = ended.value
                    break
                if name == "output":
                    pixels += data
                else:
                    *whole, lines = (lines + data).split(b"\n")
                    coming += [(int(ticks) / CLOCK, int(size)) for ticks, size in map(bytes.split, whole)]
                while coming and len(pixels) >= coming[0][1]:
                    seconds, size = coming.popleft()
                    content = bytes(pixels[:size])
                    del pixels[:size]
                    yield _Picture(content, seconds)
        finally:
            child.close()
        if pixels or coming:
            raise ClipError("decoder failed: its last frame is not whole", where=self._where)


def _as_pictures(encoding: Encoding) -> Encoding:
    """The same pictures, as JPEG; those of packed video would need the whole file and are stored at the best quality.

    The length is not bounded.
    """
    quality = encoding.quality if encoding.codec == "jpeg" else 2
    return replace(encoding, codec="jpeg", quality=quality, max_frames=_ENDLESS)
