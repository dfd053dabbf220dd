"""One pass of ffmpeg over a clip: decoded, cut, scaled and encoded as JPEG frames, and checked to be whole.

The frames come through one pipe, their sizes and times through another, ffmpeg's log through a third. So nothing is
decoded twice, no JPEG is searched for its end, and no file is written.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from tdpn_core.errors import ClipError
from tdpn_core.video.child import LIMITS, SIDE_CHANNEL, Finished, Limits, run_child
from tdpn_core.video.log import CONTAINERS, Decoded, avi_frames, copied_length, explain, read_header
from tdpn_core.video.program import Program

_INPUT = "INPUT"  # stands for the file's name, which ffmpeg-python wants to be UTF-8
_CLOCK = 1_000_000  # ticks a second of the time stamps: fine enough for every container's own


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How frames are packed, and what is too large to be a clip."""

    short_side: int = 256
    """Pixels of the shorter side; a smaller frame is left as it is, never enlarged."""

    quality: int = 3
    """ffmpeg's JPEG scale: 2 is best, 31 worst."""

    max_pixels: int = 4096 * 2304
    """A larger picture is refused before memory is spent on it."""

    max_frames: int = 36_000
    """A longer clip is refused: 20 minutes at 30 frames a second."""


@dataclass(frozen=True)
class EncodedClip:
    """The frames of a clip."""

    data: bytes
    """JPEG files, one after the other."""

    sizes: NDArray[np.int64]
    """(K,) bytes of each frame."""

    times: NDArray[np.float64] | None
    """(K,) seconds from the first frame; None if they are even, at `fps`."""

    fps: float
    """Frames a second; of an uneven clip, the mean."""

    width: int
    height: int
    note: str | None
    """What ffmpeg complained about although the clip is whole."""

    def frames(self) -> list[bytes]:
        """The JPEG bytes of each frame."""
        ends = np.cumsum(self.sizes)
        return [self.data[end - size : end] for size, end in zip(self.sizes, ends, strict=True)]


def transcode(
    path: Path,
    program: Program,
    encoding: Encoding = Encoding(),
    *,
    limits: Limits = LIMITS,
    start: float = math.nan,
    stop: float = math.nan,
    cancel: threading.Event | None = None,
) -> EncodedClip:
    """Decode a clip and encode its frames, upright and at `encoding.short_side`.

    Args:
        path: a video file; its name may hold anything.
        program: from `find_ffmpeg`.
        encoding: size, quality and bounds.
        limits: of the child process.
        start: first second of the part to take, to the container's clock; NaN for the file's start.
        stop: end of the part, exclusive, NaN for the file's end.
        cancel: set it to give up soon.

    Raises:
        ClipError: not a video, not whole, too large, or the decoder failed.
        Stopped: cancelled.
    """
    if not path.is_file():
        raise ClipError("not a regular file", where=path)
    finished = run_child(_command(path, program, encoding, start, stop), limits, where=path, cancel=cancel)
    sizes, times = _frame_table(finished, path, encoding)
    header = read_header(finished.log)
    assert header is not None, finished.log  # frames came out of it
    even, fps = frame_rate(times, header.fps)
    decoded = Decoded(
        log=finished.log,
        header=header,
        count=len(times),
        end=float(times.max()) + 1 / fps,
        fps=fps,
        seconds=_part(header.video_seconds or header.seconds, start, stop),
        promised=avi_frames(path) if math.isnan(start) and math.isnan(stop) else None,
    )
    fault = decoded.cut() or _second_look(path, program, decoded, start, stop, limits, cancel)
    if fault is None and finished.status != 0:
        fault = f"decoder failed with status {finished.status}"
    if fault:
        raise ClipError(fault, where=path)
    height, width = _picture_size(finished.output[: sizes[0]], path)
    return EncodedClip(
        data=finished.output,
        sizes=sizes,
        times=None if even else times - times[0],
        fps=fps,
        width=width,
        height=height,
        note=next((line[:200] for line in decoded.complaints), None),
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


def open_video(encoding: Encoding, **options: Any) -> Any:
    """An ffmpeg-python input for a foreign file: one thread, local files, containers only, a bounded picture.

    `compiled` puts the file's name in.
    """
    return ffmpeg.input(
        _INPUT,
        threads=1,  # clips run side by side; and what one thread makes of a damaged clip is the same each time
        protocol_whitelist="file,pipe",
        format_whitelist=CONTAINERS,
        max_pixels=encoding.max_pixels,
        **options,
    )


def compiled(stream: Any, program: Program, path: Path) -> list[str]:
    """An ffmpeg-python output stream as a command that reads `path` and logs what `tdpn_core.video.log` reads."""
    quiet = stream.global_args("-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info")
    command = [str(part) for part in quiet.compile(cmd=program.path)]
    return [f"file:{path}" if part == _INPUT else part for part in command]


def _command(path: Path, program: Program, encoding: Encoding, start: float, stop: float) -> list[str]:
    side = encoding.short_side
    scale = (
        f"scale=w='if(lte(iw,ih),min(iw,{side}),-1)':h='if(lte(iw,ih),-1,min(ih,{side}))'"
        ":out_color_matrix=bt601:out_range=full,format=yuvj420p"  # what a JPEG reader takes for granted
    )
    seek = {} if math.isnan(start) else {"ss": f"{start:.6f}"}
    if not math.isnan(stop):  # by a filter: ffmpeg's own -to counts from the first frame and takes one too many
        scale = f"trim=end={stop - (start if seek else 0):.6f},{scale}"
    source = open_video(encoding, **seek)
    output = ffmpeg.output(
        source["v:0"],
        "pipe:1",
        vf=scale,
        fps_mode="passthrough",
        enc_time_base=f"1:{_CLOCK}",
        format="image2pipe",
        threads=1,
        stats_enc_post=f"pipe:{SIDE_CHANNEL}",
        stats_enc_post_fmt="{pts} {size}",
        **{
            "c:v": "mjpeg",
            "q:v": encoding.quality,
            "flags:v": "+bitexact",  # no version of the encoder within each frame
            "frames:v": encoding.max_frames + 1,
        },
    )
    return compiled(output, program, path)


def _frame_table(finished: Finished, path: Path, encoding: Encoding) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Bytes and seconds of each frame, from the side channel."""
    table = np.array([line.split() for line in finished.side.decode().splitlines()], np.int64).reshape(-1, 2)
    if len(table) == 0:
        raise ClipError(explain(finished.log, path, encoding.max_pixels), where=path)
    if len(table) > encoding.max_frames:
        raise ClipError(f"more than {encoding.max_frames} frames", where=path)
    if table[:, 1].sum() != len(finished.output):
        raise ClipError(f"decoder failed: {len(finished.output)} bytes of {table[:, 1].sum()} came", where=path)
    return table[:, 1], table[:, 0] / _CLOCK


def _picture_size(jpeg: bytes, path: Path) -> tuple[int, int]:
    """Height and width of an encoded frame."""
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(jpeg)
    except ValueError as error:
        raise ClipError(f"decoder failed: its first frame is no JPEG ({error})", where=path) from error
    return height, width


def _part(seconds: float | None, start: float, stop: float) -> float | None:
    """Length of the asked-for part of a file of `seconds`."""
    ends = [end for end in (seconds, stop) if end is not None and not math.isnan(end)]
    if not ends:
        return None
    return max(min(ends) - (0 if math.isnan(start) else start), 0.0)


def _second_look(
    path: Path,
    program: Program,
    decoded: Decoded,
    start: float,
    stop: float,
    limits: Limits,
    cancel: threading.Event | None,
) -> str | None:
    """Copy all streams to nowhere, only for a clip that the first pass left in doubt."""
    if not (decoded.silently_short or decoded.complaints):
        return None
    source = open_video(Encoding())
    output = ffmpeg.output(source["v:0"], source["a?"], "pipe:1", c="copy", format="null")
    copied = run_child(compiled(output, program, path), limits, where=path, cancel=cancel)
    packets, reach = copied_length(copied.log)
    whole = math.isnan(start) and math.isnan(stop)
    return decoded.second_look(packets if whole else 0, _part(reach, start, stop) or 0.0)
