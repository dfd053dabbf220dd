"""Stream the frames of a video while it is decoded, each as the JPEGs that `prep` stores: one, or two for flow.

For videos that are too long to store or have no end. Memory use does not depend on the length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from tdpn_core import defaults
from tdpn_core.errors import ClipError
from tdpn_core.fetch_limits import FOR_VIDEOS, FetchLimits, longer
from tdpn_core.video.encode import clip_limits, no_frames
from tdpn_core.video.encode_options import Encoding
from tdpn_core.video.ffmpeg_binary import Program
from tdpn_core.video.ffmpeg_command import Reported, address_command, video_command
from tdpn_core.video.ffmpeg_log import complaints
from tdpn_core.video.integrity import Decoded, fault
from tdpn_core.video.optical_flow import Compute, Grey, encode_flow, flow_computer, flow_method, jpeg_quality, read_grey
from tdpn_core.video.probe import probe
from tdpn_core.video.source import Source
from tdpn_core.video.subprocess_limits import (
    LIMITS,
    Finished,
    Limits,
    OverdueError,
    SilentError,
    stream_child,
)
from tdpn_core.video.url import Address
from tdpn_core.video.url_download import lost, why_not

_ENDLESS = 2**31 - 2


class StreamedFrame(NamedTuple):
    """One frame, or the optical flow from one frame to the next."""

    items: tuple[bytes, ...]
    """JPEG files: one in colour, or two grey ones with the flow's u and v."""

    seconds: float
    """Seconds since the video's start."""


def stream_video(
    source: Source, program: Program, encoding: Encoding, limits: Limits = LIMITS
) -> Iterator[StreamedFrame]:
    """Yield every frame of a video file, or of a part of it. Times are relative to the start of the part.

    Args:
        source: the file or its part.
        program: ffmpeg.
        encoding: how frames are packed; its `max_frames` is not applied.
        limits: limits of the decoder.

    Raises:
        ClipError: it cannot be decoded; raised at the end if the video is incomplete.
        ToolError: optical flow is requested, but OpenCV is not installed.
    """
    return _packed(_of_file(source, program, encoding, limits), encoding)


def _of_file(source: Source, program: Program, encoding: Encoding, limits: Limits) -> Iterator[_Picture]:
    path = source.path
    found = probe(path, max_pixels=encoding.max_pixels)
    limits = clip_limits(found, limits, _ENDLESS)
    rate = float(found.video.rates[0]) if found.video.rates else defaults.FRAME_RATE

    def frames_of(first: bool) -> _Frames:
        asked = (program, _as_pictures(encoding), source.start, source.stop)
        command = video_command(path, found.video.index, *asked, first=first)
        return _Frames(command, str(path), limits, encoding.fps or rate, resampled=encoding.fps is not None)

    frames = frames_of(first=False)
    yield from frames
    if frames.count == 0 and frames.decoded:  # shorter than one frame at the requested rate
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
    address: Address,
    program: Program,
    encoding: Encoding,
    stop: float = math.nan,
    limits: FetchLimits = FOR_VIDEOS,
) -> Iterator[StreamedFrame]:
    """Yield every frame received from an address, until second `stop`.

    Args:
        address: address of a playlist or a live stream.
        program: ffmpeg.
        encoding: how frames are packed; its `max_frames` is not applied.
        stop: seconds from the stream's start; NaN for its end.
        limits: `idle` is the longest wait for a frame. `total` is the longest wait for all frames of a playlist,
            and for a live stream the allowance beyond `stop` seconds; a live stream without `stop` is followed to its
            end. Time in which the caller requests no frames does not count.

    Raises:
        ClipError: it cannot be opened, breaks off, or exceeds a limit; the message says how many frames were received.
        ToolError: optical flow is requested, but OpenCV is not installed.
    """
    return _packed(_of_address(address, program, encoding, stop, limits), encoding)


def _of_address(
    address: Address, program: Program, encoding: Encoding, stop: float, limits: FetchLimits
) -> Iterator[_Picture]:
    command = address_command(address, program, _as_pictures(encoding), stop)
    total = math.inf if limits.total is None else limits.total
    if address.kind == "live":
        total = math.inf if math.isnan(stop) else stop + total
    idle = Limits(seconds=limits.idle)
    resampled = encoding.fps is not None
    frames = _Frames(command, address.name, idle, encoding.fps or defaults.FRAME_RATE, resampled=resampled, total=total)
    try:
        yield from frames
    except SilentError as error:
        what = f"no frame for {limits.idle:g} s, after {frames.received()}"
        raise ClipError(what, where=address.name, hint=longer("idle")) from error
    except OverdueError as error:
        what = f"did not end within {total:g} s: {frames.received()} received"
        raise ClipError(what, where=address.name, hint=longer("total")) from error
    if frames.count == 0 or frames.finished.status != 0 or lost(frames.finished.log):
        raise ClipError(why_not(frames.finished.log), where=address.name)


def _packed(pictures: Iterator[_Picture], encoding: Encoding) -> Iterator[StreamedFrame]:
    """Encode pictures as stored; for flow, of each pair of successive pictures, or of a single one to itself."""
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
    """Output of the decoder: a JPEG file, or a PGM file for flow."""

    content: bytes
    seconds: float


class _Frames:
    """The pictures of a running decoder, split by the sizes on the side channel."""

    def __init__(
        self,
        command: list[str],
        where: str,
        limits: Limits,
        rate: float,
        *,
        resampled: bool,
        total: float = math.inf,
    ) -> None:
        self._command, self._where, self._limits, self._total = command, where, limits, total
        self._rate, self._resampled = rate, resampled
        self.count, self.decoded = 0, 0
        """Frames so far: returned and decoded."""
        self.finished = Finished(0, b"", b"", "")
        """Set at the end."""
        self._last = math.nan

    def received(self) -> str:
        """Describe how much was returned so far."""
        return f"{self.count} frames, {self._last:.1f} s" if self.count else "0 frames"

    def __iter__(self) -> Iterator[_Picture]:
        child = stream_child(self._command, self._limits, where=self._where, total=self._total)
        pixels, reported = bytearray(), Reported()
        ended = False
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
                        break  # its time stamp has not arrived yet
                    stamp = reported.stamps.popleft() if reported.stamps else None
                    self._last = self._after(self._last, reported.seconds(stamp))
                    size = reported.sizes.popleft()
                    content = bytes(pixels[:size])
                    del pixels[:size]
                    self.count += 1
                    yield _Picture(content, self._last)
                if self._resampled and self.count:
                    reported.stamps.clear()
        finally:
            child.close()
        if pixels or reported.sizes:
            raise ClipError("decoder failed: its last frame is not complete", where=self._where)

    def _after(self, last: float, stamp: float) -> float:
        """Return the time of the frame after `last`: its own stamp, unless it is missing, repeated or decreasing."""
        if math.isnan(last):
            first = 0.0 if math.isnan(stamp) else stamp
            return round(first * self._rate) / self._rate if self._resampled else first
        return stamp if stamp > last and not self._resampled else last + 1 / self._rate


def _as_pictures(encoding: Encoding) -> Encoding:
    """Return the encoding as JPEG; packed video would need the complete file, and uses the best quality here.

    The length is not bounded.
    """
    quality = encoding.quality if encoding.codec == "jpeg" else 2
    return replace(encoding, codec="jpeg", quality=quality, max_frames=_ENDLESS)
