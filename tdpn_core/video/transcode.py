"""One pass of ffmpeg over a clip: decoded, cut, scaled, encoded into a file, and checked to be whole.

ffmpeg writes the frames straight into the file, their sizes and times into one pipe, its log into another. So nothing
is decoded twice, no JPEG is searched for its end, and the memory is the same for a long clip as for a short one.
"""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from tdpn_core.errors import ClipError, ClipTooLong, Stopped, UsageError
from tdpn_core.video.child import LIMITS, Finished, Limits, run_child
from tdpn_core.video.command import CLOCK, PICTURE, compiled, open_video, pictures_command, video_command
from tdpn_core.video.encoding import ENCODING, EncodedClip, Encoding
from tdpn_core.video.flow import Method, encode_flow, flow_computer, flow_method, jpeg_quality, read_grey
from tdpn_core.video.frames import Frames, Picture, open_frames
from tdpn_core.video.log import (
    Decoded,
    Header,
    avi_frames,
    copied_length,
    decoded_frames,
    no_frames,
    output_size,
    read_header,
)
from tdpn_core.video.program import Program
from tdpn_core.video.scratch import checksums, disk_full, scratch_file, tells_full_disk
from tdpn_core.video.source import Source

__all__ = ["EncodedClip", "Encoding", "encode_clip"]


def encode_clip(
    source: Source,
    destination: Path,
    program: Program,
    encoding: Encoding = ENCODING,
    *,
    limits: Limits = LIMITS,
    cancel: threading.Event | None = None,
) -> EncodedClip:
    """Decode a clip and write its items, one after another, to a file; on any failure the file is removed.

    Args:
        source: a video file, whose name may hold anything, or numbered frames.
        destination: the file, in an existing folder; an older one is overwritten.
        program: from `find_ffmpeg`.
        encoding: size, quality and bounds.
        limits: of each child process.
        cancel: set it to give up soon.

    Raises:
        ClipError: not a video, not whole, too large, or the decoder failed.
        Stopped: cancelled.
        TdpnError: the disk is full, or `destination` cannot be written.
        ToolError: ffmpeg cannot be started.
    """
    method = flow_method(encoding)
    run = _Run(source, program, encoding, limits, cancel)
    with scratch_file(destination) as file:
        if method is None:
            taken = run.take(file)
        else:
            with scratch_file(destination.with_name(f"{destination.name}.grey")) as pictures:
                taken = _flow(run.take(pictures), pictures, file, method, encoding, cancel)
                pictures.close()
                Path(pictures.name).unlink()
        crc32, sha256 = checksums(file, taken.sizes)
    even, fps = taken.rate
    return EncodedClip(
        sizes=taken.sizes,
        crc32=crc32,
        sha256=sha256,
        frames=len(taken.times),
        times=None if even else taken.times - taken.times[0],
        fps=fps,
        width=taken.width,
        height=taken.height,
        note=taken.note,
        flow_method=method,
    )


def frame_rate(times: NDArray[np.float64], printed: float | None) -> tuple[bool, float]:
    """Whether frames are evenly spaced, and their rate: the container's where the times bear it out.

    A quarter of a frame off the even grid is rounding (Matroska counts milliseconds); more is a variable rate.
    """
    if len(times) < 2 or times[-1] <= times[0]:
        return True, printed or 25.0
    measured = (len(times) - 1) / float(times[-1] - times[0])
    grid = times[0] + np.arange(len(times)) / measured
    even = bool(np.abs(times - grid).max() <= 0.25 / measured)
    if even and printed and abs(measured / printed - 1) < 0.005:
        return True, printed
    return even, measured


@dataclass(frozen=True, kw_only=True)
class _Taken:
    """What was written to a file."""

    sizes: NDArray[np.int64]
    """Bytes of each item."""

    times: NDArray[np.float64]
    """Seconds of each frame."""

    rate: tuple[bool, float]
    """Whether they are even, and frames a second."""

    height: int
    width: int
    note: str | None = None


@dataclass(frozen=True)
class _Run:
    """One source on its way into a file."""

    source: Source
    program: Program
    encoding: Encoding
    limits: Limits
    cancel: threading.Event | None

    def take(self, file: IO[bytes]) -> _Taken:
        """Write the encoded frames to `file`."""
        if self.source.kind == "video":
            return self._filmed(file)
        with open_frames(self.source, self.encoding) as frames:
            first = frames.picture(frames.numbers[0])
            return self._copied(frames, file) if self._fits(first) else self._encoded(frames, first, file)

    def _filmed(self, file: IO[bytes]) -> _Taken:
        source, path, encoding = self.source, self.source.path, self.encoding
        if not path.is_file():
            raise ClipError("not a regular file", where=path)
        command = video_command(path, self.program, encoding, source.start, source.stop)
        finished = run_child(command, self.limits, where=path, output=file, cancel=self.cancel)
        sizes, times = self._table(finished, file)
        header = read_header(finished.log)
        if header is None:
            raise ClipError("its header cannot be read", where=path)
        even, fps = frame_rate(times, header.fps) if encoding.fps is None else (True, encoding.fps)
        decoded = _decoded(source, finished.log, header, times, fps, encoding)
        fault = decoded.cut() or _second_look(source, self.program, decoded, self.limits, self.cancel)
        if fault is None and finished.status != 0:
            fault = f"decoder failed with status {finished.status}"
        if fault:
            raise ClipError(fault, where=path)
        height, width = self._size(finished)
        note = next((line[:200] for line in decoded.complaints), None)
        return _Taken(sizes=sizes, times=times, rate=(even, fps), height=height, width=width, note=note)

    def _fits(self, first: Picture) -> bool:
        """The stored pictures are what was asked for as they are."""
        asked, short = self.encoding, min(first.height, first.width)
        as_is = (asked.codec, asked.modality, asked.fps, first.format) == ("jpeg", "rgb", None, "jpeg")
        return as_is and (short == asked.short_side or (short < asked.short_side and not asked.enlarge))

    def _copied(self, frames: Frames, file: IO[bytes]) -> _Taken:
        """Byte for byte."""
        sizes = []
        for picture in frames:
            if self.cancel is not None and self.cancel.is_set():
                raise Stopped("stopped on request")
            frames.check(picture)
            sizes.append(file.write(picture.content))
        fps = _rate_of_frames(self.source)
        times = np.arange(len(sizes)) / fps
        height, width = picture.height, picture.width
        return _Taken(sizes=np.array(sizes, np.int64), times=times, rate=(True, fps), height=height, width=width)

    def _encoded(self, frames: Frames, first: Picture, file: IO[bytes]) -> _Taken:
        """Through ffmpeg, which gets JPEG frames decoded, since it takes a damaged one for whole."""
        if self.encoding.fps is not None and math.isnan(self.source.fps):
            raise UsageError(
                "frames of unknown rate cannot be resampled", where=self.source.path, hint="leave out --fps"
            )

        def feed() -> Iterator[bytes | memoryview]:
            for picture in frames:
                if picture.format == "png":
                    frames.check(picture)
                    yield picture.content
                else:
                    yield frames.decode(picture).data

        fps = _rate_of_frames(self.source)
        size = None if first.format == "png" else (first.height, first.width)
        command = pictures_command(self.program, self.encoding, fps, size)
        finished = run_child(command, self.limits, where=self.source.path, output=file, feed=feed(), cancel=self.cancel)
        sizes, times = self._table(finished, file)
        count = len(times) if self.encoding.fps is None else decoded_frames(finished.log)
        if count != len(frames.numbers) or finished.status != 0:
            raise ClipError(f"damaged: {count} of {len(frames.numbers)} frames can be decoded", where=self.source.path)
        height, width = self._size(finished)
        return _Taken(sizes=sizes, times=times, rate=(True, self.encoding.fps or fps), height=height, width=width)

    def _table(self, finished: Finished, file: IO[bytes]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Bytes of each item and seconds of each frame, from the side channel."""
        path, encoding = self.source.path, self.encoding
        if tells_full_disk(finished.log):
            raise disk_full(Path(file.name))
        table = np.array(finished.side.split(), np.int64).reshape(-1, 2)
        if len(table) == 0:
            raise no_frames(finished.log, path, encoding.max_pixels)
        if len(table) > encoding.max_frames:
            raise ClipTooLong(f"more than {encoding.max_frames} frames", where=path)
        came, told = file.seek(0, 2), int(table[:, 1].sum())
        if encoding.codec == "video":
            return np.array([came], np.int64), table[:, 0] / CLOCK
        if came != told:
            raise ClipError(f"decoder failed: {came} bytes of {told} came", where=path)
        return table[:, 1], table[:, 0] / CLOCK

    def _size(self, finished: Finished) -> tuple[int, int]:
        """(height, width) of the encoded frames."""
        size = output_size(finished.log)
        if size is None:
            raise ClipError("the decoder does not tell the size of its frames", where=self.source.path)
        return size


def _flow(
    taken: _Taken,
    pictures: IO[bytes],
    file: IO[bytes],
    method: Method,
    encoding: Encoding,
    cancel: threading.Event | None,
) -> _Taken:
    """The flow between successive grey `pictures`; from the only one of a clip to itself."""
    pictures.seek(0)
    compute = flow_computer(method)
    sizes: list[int] = []
    last: NDArray[np.uint8] | None = None
    for size in taken.sizes.tolist():
        if cancel is not None and cancel.is_set():
            raise Stopped("stopped on request")
        grey = read_grey(pictures.read(size))
        if last is not None or len(taken.sizes) == 1:
            items = encode_flow(compute(grey if last is None else last, grey), jpeg_quality(encoding.quality))
            sizes += [file.write(item) for item in items]
        last = grey
    kept = max(len(taken.times) - 1, 1)
    return dataclasses.replace(taken, sizes=np.array(sizes, np.int64), times=taken.times[:kept])


def _decoded(
    source: Source, log: str, header: Header, times: NDArray[np.float64], fps: float, encoding: Encoding
) -> Decoded:
    """What came out, beside what the container promises."""
    count, promised = len(times), avi_frames(source.path) if source.whole else None
    end = float(times.max()) + 1 / fps
    if encoding.fps is not None and source.whole:
        count = decoded_frames(log) or count  # what was decoded, not what it was resampled to
    elif encoding.fps is not None:
        header = dataclasses.replace(header, fps=encoding.fps)
    seconds = _part(header.video_seconds or header.seconds, source)
    return Decoded(log=log, header=header, count=count, end=end, fps=fps, seconds=seconds, promised=promised)


def _rate_of_frames(source: Source) -> float:
    return 25.0 if math.isnan(source.fps) else source.fps


def _part(seconds: float | None, source: Source) -> float | None:
    """Length of the asked-for part of a file of `seconds`."""
    ends = [end for end in (seconds, source.stop) if end is not None and not math.isnan(end)]
    if not ends:
        return None
    return max(min(ends) - (0 if math.isnan(source.start) else source.start), 0.0)


def _second_look(
    source: Source, program: Program, decoded: Decoded, limits: Limits, cancel: threading.Event | None
) -> str | None:
    """Copy all streams to nowhere, only for a clip that the first pass left in doubt."""
    if not (decoded.silently_short or decoded.complaints):
        return None
    video = open_video(ENCODING)
    output = ffmpeg.output(video[PICTURE], video["a?"], "pipe:1", c="copy", format="null")
    copied = run_child(compiled(output, program, source.path), limits, where=source.path, cancel=cancel)
    packets, reach = copied_length(copied.log)
    return decoded.second_look(packets if source.whole else 0, _part(reach, source) or 0.0)
