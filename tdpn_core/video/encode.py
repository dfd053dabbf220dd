"""Decode, cut, scale and encode a clip into a file in one ffmpeg pass, and check that it is complete.

ffmpeg writes the frames directly into the file, their sizes and times into one pipe, and its log into another. So
nothing is decoded twice, no JPEG is parsed for its end, and memory use does not depend on the clip's length.
"""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from tdpn_core import defaults
from tdpn_core.errors import ClipError, ClipTooLong, Stopped, UsageError
from tdpn_core.video.available_memory import available_memory
from tdpn_core.video.encode_options import ENCODING, EncodedClip, Encoding
from tdpn_core.video.ffmpeg_binary import Program
from tdpn_core.video.ffmpeg_command import Reported, pictures_command, video_command
from tdpn_core.video.ffmpeg_log import complaints
from tdpn_core.video.image_sequence import Frames, Picture, open_frames
from tdpn_core.video.integrity import Decoded, fault, is_cut, missing_seconds, slack
from tdpn_core.video.optical_flow import Method, encode_flow, flow_computer, flow_method, jpeg_quality, read_grey
from tdpn_core.video.probe import Probe, probe
from tdpn_core.video.source import Source
from tdpn_core.video.subprocess_limits import LIMITS, ChildError, Finished, Limits, run_child
from tdpn_core.video.temp_file import checksums, disk_full, scratch_file, tells_full_disk
from tdpn_core.video.timestamps import frame_rate, repaired

__all__ = ["EncodedClip", "Encoding", "clip_limits", "encode_clip"]

_CPU_BASE = 120.0  # seconds of processor time for any clip
_CPU_EACH = 0.05  # in addition, per frame and megapixel: ten times what slow codecs take on slow processors
_LARGE = 4096 * 2304  # pixels from which available memory is checked
_DECODER_BYTES = 48  # per pixel: the 17 pictures that H.264 and H.265 may buffer, at two bytes per sample


def encode_clip(
    source: Source,
    destination: Path,
    program: Program,
    encoding: Encoding = ENCODING,
    *,
    limits: Limits = LIMITS,
    cancel: threading.Event | None = None,
) -> EncodedClip:
    """Decode a clip and write its items one after another to a file; on failure, remove the file.

    Args:
        source: a video file, with any name, or numbered frames.
        destination: output file in an existing folder; overwritten if it exists.
        program: from `find_ffmpeg`.
        encoding: size, quality and bounds.
        limits: limits of each child process.
        cancel: set it to cancel.

    Raises:
        ClipError: the source is not a video, incomplete or too large, or the decoder failed.
        Stopped: `cancel` was set.
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


def clip_limits(probe: Probe, limits: Limits, max_frames: int) -> Limits:
    """Return `limits` with processor time scaled by the clip's frames and picture size, unless a time is given.

    Raises:
        ChildError: its pictures need more memory than is available.
    """
    video = probe.video
    pixels = video.width * video.height
    left = available_memory() if pixels > _LARGE else None
    if left is not None and left < pixels * _DECODER_BYTES:
        needed = f"needs about {pixels * _DECODER_BYTES / 1e9:.1f} GB of memory, {left / 1e9:.1f} GB are available"
        raise ChildError(f"{video.width}x{video.height} {needed} (use fewer --workers)")
    if limits.cpu_seconds is not None:
        return limits
    frames = min(probe.expected_frames or max_frames, max_frames) + 1
    return dataclasses.replace(limits, cpu_seconds=_CPU_BASE + _CPU_EACH * frames * pixels / 1e6)


@dataclass(frozen=True, kw_only=True)
class _Taken:
    """What was written to a file."""

    sizes: NDArray[np.int64]
    """Bytes of each item."""

    times: NDArray[np.float64]
    """Seconds of each frame."""

    rate: tuple[bool, float]
    """Whether frame times are even, and frames per second."""

    height: int
    width: int
    note: str | None = None


@dataclass(frozen=True)
class _Run:
    """One source being written to a file."""

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
        found = probe(path, scan=source.whole, max_pixels=encoding.max_pixels)
        try:
            limits = clip_limits(found, self.limits, encoding.max_frames)
        except ChildError as error:
            raise ChildError(error.what, where=path) from error

        def run(first: bool) -> tuple[Finished, list[int], list[float]]:
            part = (source.start, source.stop)
            command = video_command(path, found.video.index, self.program, encoding, *part, first=first)
            finished = run_child(command, limits, where=path, output=file, cancel=self.cancel)
            return finished, *self._reported(finished, file)

        finished, sizes, stamps = run(first=False)
        if not sizes and stamps:  # shorter than one frame at the requested rate
            finished, sizes, _ = run(first=True)
        self._check(sizes, found, finished)
        if encoding.fps is None:
            if len(stamps) > 1 and len(set(stamps)) == 1:
                raise ClipError("damaged: all of its frames have the same time", where=path)
            times = repaired(np.array(stamps[: len(sizes)]), _stated(found))
            rate = frame_rate(times, found.video.rates, found.video.tick)
        else:
            times, rate = np.arange(len(sizes)) / encoding.fps, (True, encoding.fps)
        self._intact(found, finished, len(stamps), float(times[-1]) + 1 / rate[1], rate[1])
        height, width = _size(file, sizes[0], encoding)
        note = found.note or next((line[:200] for line in complaints(finished.log)), None)
        items = _item_sizes(sizes, file, encoding, path)
        return _Taken(sizes=items, times=times, rate=rate, height=height, width=width, note=note)

    def _check(self, sizes: list[int], found: Probe, finished: Finished) -> None:
        """Check that there are frames, and not too many."""
        path = self.source.path
        if len(sizes) > self.encoding.max_frames:
            what = f"more than {self.encoding.max_frames} frames (--max-frames)"
            raise ClipTooLong(what, where=path)
        if not sizes:
            raise no_frames(self.source, found, finished.log)

    def _intact(self, found: Probe, finished: Finished, frames: int, end: float, fps: float) -> None:
        """Raise the error of an incomplete or damaged clip."""
        path, said = self.source.path, complaints(finished.log)
        if self.source.whole:
            wrong = fault(path, found, Decoded(frames, _stated(found) or fps, said))
        else:
            wrong = _short_part(self.source, found, frames, end, fps)
        if wrong is None and finished.status != 0:
            wrong = f"decoder failed with status {finished.status}"
        if wrong:
            raise ClipError(wrong, where=path)

    def _fits(self, first: Picture) -> bool:
        """Return whether the stored pictures can be used without re-encoding."""
        asked, short = self.encoding, min(first.height, first.width)
        as_is = (asked.codec, asked.modality, asked.fps, first.format) == ("jpeg", "rgb", None, "jpeg")
        return as_is and (short == asked.short_side or (short < asked.short_side and not asked.enlarge))

    def _copied(self, frames: Frames, file: IO[bytes]) -> _Taken:
        """Copy the pictures byte by byte."""
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
        """Encode with ffmpeg; JPEG frames are decoded here, since ffmpeg accepts damaged ones as complete."""
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
        items, stamps = self._reported(finished, file)
        if len(items) > self.encoding.max_frames:
            raise ClipTooLong(f"more than {self.encoding.max_frames} frames (--max-frames)", where=self.source.path)
        count = len(stamps)
        if not items or count != len(frames.numbers) or finished.status != 0:
            raise ClipError(f"damaged: {count} of {len(frames.numbers)} frames can be decoded", where=self.source.path)
        rate = self.encoding.fps or fps
        height, width = _size(file, items[0], self.encoding)
        sizes, times = _item_sizes(items, file, self.encoding, self.source.path), np.arange(len(items)) / rate
        return _Taken(sizes=sizes, times=times, rate=(True, rate), height=height, width=width)

    def _reported(self, finished: Finished, file: IO[bytes]) -> tuple[list[int], list[float]]:
        """Return the bytes of each encoded frame and the seconds of each decoded one."""
        if tells_full_disk(finished.log):
            raise disk_full(Path(file.name))
        reported = Reported()
        reported.add(finished.side)
        return list(reported.sizes), [reported.seconds(stamp) for stamp in reported.stamps]


def no_frames(source: Source, found: Probe, log: str) -> ClipError:
    """Return the error for a file, or a part of one, from which no frame was decoded."""
    said = complaints(log)
    if found.scanned and not found.video.packets and "mov" in found.container.split(","):
        return ClipError("truncated: the file's index is missing or cut", where=source.path)
    if is_cut(source.path, found):
        return ClipError("truncated: the file ends before its first frame", where=source.path)
    if said:
        return ClipError(f"cannot be decoded ({said[0][:120]})", where=source.path)
    if source.whole:
        return ClipError("no frame could be decoded", where=source.path)
    length = "" if found.seconds is None else f"; the video has {found.seconds:.2f} s"
    start = 0.0 if math.isnan(source.start) else source.start
    until = "its end" if math.isnan(source.stop) else f"{source.stop:.2f} s"
    return ClipError(f"no frame from {start:.2f} s to {until}{length}", where=source.path)


def _size(file: IO[bytes], first: int, encoding: Encoding) -> tuple[int, int]:
    """Return (height, width) of the encoded frames, read from the first."""
    if encoding.codec == "video":
        video = probe(Path(file.name)).video
        return video.height, video.width
    file.seek(0)
    picture = file.read(first)
    if encoding.modality == "flow":
        height, width = read_grey(picture).shape
    else:
        height, width, *_ = simplejpeg.decode_jpeg_header(picture)
    return height, width


def _item_sizes(sizes: list[int], file: IO[bytes], encoding: Encoding, path: Path) -> NDArray[np.int64]:
    """Return the (K,) bytes of each item."""
    came, stated = file.seek(0, 2), sum(sizes)
    if encoding.codec == "video":
        return np.array([came], np.int64)
    if came != stated:
        raise ClipError(f"decoder failed: received {came} of {stated} bytes", where=path)
    return np.array(sizes, np.int64)


def _stated(found: Probe) -> float | None:
    return float(found.video.rates[0]) if found.video.rates else None


def _flow(
    taken: _Taken,
    pictures: IO[bytes],
    file: IO[bytes],
    method: Method,
    encoding: Encoding,
    cancel: threading.Event | None,
) -> _Taken:
    """Compute the flow between successive grey `pictures`; a single picture gives the flow to itself."""
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


def _rate_of_frames(source: Source) -> float:
    return defaults.FRAME_RATE if math.isnan(source.fps) else source.fps


def _part(seconds: float | None, source: Source) -> float | None:
    """Return the length of the requested part of a file of `seconds`."""
    ends = [end for end in (seconds, source.stop) if end is not None and not math.isnan(end)]
    if not ends:
        return None
    return max(min(ends) - (0 if math.isnan(source.start) else source.start), 0.0)


def _short_part(source: Source, found: Probe, frames: int, end: float, fps: float) -> str | None:
    """Return the fault of a part that ends early although the header promises more; None if complete."""
    promised = _part(found.video.seconds or found.seconds, source) or 0.0
    if promised - end <= slack(fps):
        return None
    scanned = probe(source.path, scan=True)
    reached = _part(scanned.video.end or scanned.end, source) or 0.0
    if missing_seconds(scanned) > slack(fps) and promised - reached > slack(fps):
        return f"truncated: {frames} of {round(promised * fps)} frames"
    return None
