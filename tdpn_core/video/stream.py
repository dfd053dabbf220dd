"""The frames of a video while they are decoded, each as the JPEGs that preparation would store: one, or two of flow.

For videos too long to be kept, or without an end. Memory holds what is asked for, whatever the length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from tdpn_core.errors import ClipError
from tdpn_core.video.encode import clip_limits, no_frames
from tdpn_core.video.encode_options import Encoding
from tdpn_core.video.ffmpeg_binary import Program
from tdpn_core.video.ffmpeg_command import Reported, address_command, video_command
from tdpn_core.video.ffmpeg_log import complaints
from tdpn_core.video.integrity import Decoded, fault
from tdpn_core.video.optical_flow import Compute, Grey, encode_flow, flow_computer, flow_method, jpeg_quality, read_grey
from tdpn_core.video.probe import probe
from tdpn_core.video.source import Source
from tdpn_core.video.subprocess_limits import LIMITS, Finished, Limits, stream_child
from tdpn_core.video.url import Address
from tdpn_core.video.url_download import lost, why_not

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
    found = probe(path, max_pixels=encoding.max_pixels)
    limits = clip_limits(found, LIMITS, _ENDLESS)
    rate = float(found.video.rates[0]) if found.video.rates else 25.0

    def frames_of(first: bool) -> _Frames:
        asked = (program, _as_pictures(encoding), source.start, source.stop)
        command = video_command(path, found.video.index, *asked, first=first)
        return _Frames(command, str(path), limits, encoding.fps or rate, resampled=encoding.fps is not None)

    frames = frames_of(first=False)
    yield from frames
    if frames.count == 0 and frames.decoded:  # shorter than one frame at the rate that was asked for
        yield from frames_of(first=True)
        return
    log, status = frames.finished.log, frames.finished.status
    if frames.count == 0:
        raise no_frames(source, probe(path, scan=True), log)
    wrong = None
    if source.whole:
        came = Decoded(frames.decoded, rate, complaints(log))
        wrong = fault(path, probe(path, scan=True), came)
    if wrong or status != 0:
        raise ClipError(wrong or f"decoder failed with status {status}", where=path)


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
    command = address_command(address, program, _as_pictures(encoding), stop)
    frames = _Frames(command, address.name, SILENCE, encoding.fps or 25.0, resampled=encoding.fps is not None)
    yield from frames
    if frames.count == 0 or frames.finished.status != 0 or lost(frames.finished.log):
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

    def __init__(self, command: list[str], where: str, limits: Limits, rate: float, *, resampled: bool) -> None:
        self._command, self._where, self._limits = command, where, limits
        self._rate, self._resampled = rate, resampled
        self.count, self.decoded = 0, 0
        """Frames so far: handed on, and decoded."""
        self.finished = Finished(0, b"", b"", "")
        """Set at the end."""

    def __iter__(self) -> Iterator[_Picture]:
        child = stream_child(self._command, self._limits, where=self._where)
        pixels, reported = bytearray(), Reported()
        last, ended = math.nan, False
        try:
            while not ended:
                try:
                    name, data = next(child)
                except StopIteration as end:
                    self.finished, ended = end.value, True
                else:
                    if name == "output":
                        pixels += data
                    else:
                        before = len(reported.stamps)
                        reported.add(data)
                        self.decoded += len(reported.stamps) - before
                while reported.sizes and len(pixels) >= reported.sizes[0]:
                    if not (reported.stamps or ended or (self._resampled and self.count)):
                        break  # its stamp is still to come
                    last = self._after(last, reported.stamps.popleft() if reported.stamps else math.nan)
                    size = reported.sizes.popleft()
                    content = bytes(pixels[:size])
                    del pixels[:size]
                    self.count += 1
                    yield _Picture(content, last)
                if self._resampled and self.count:
                    reported.stamps.clear()
        finally:
            child.close()
        if pixels or reported.sizes:
            raise ClipError("decoder failed: its last frame is not complete", where=self._where)

    def _after(self, last: float, stamp: float) -> float:
        """The time of the frame after `last`: its own stamp, unless it is missing, repeated or steps back."""
        if math.isnan(last):
            first = 0.0 if math.isnan(stamp) else stamp
            return round(first * self._rate) / self._rate if self._resampled else first
        return stamp if stamp > last and not self._resampled else last + 1 / self._rate


def _as_pictures(encoding: Encoding) -> Encoding:
    """The same pictures, as JPEG; those of packed video would need the whole file and are stored at the best quality.

    The length is not bounded.
    """
    quality = encoding.quality if encoding.codec == "jpeg" else 2
    return replace(encoding, codec="jpeg", quality=quality, max_frames=_ENDLESS)
