"""Write videos for viewing: strips below a video, or pictures alone, as H.264 in MP4."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import ffmpeg

from tdpn_core.errors import ClipError
from tdpn_core.files import atomic_path
from tdpn_core.video.encode_options import Encoding
from tdpn_core.video.ffmpeg_binary import Program
from tdpn_core.video.ffmpeg_command import compiled, open_video
from tdpn_core.video.ffmpeg_log import complaints
from tdpn_core.video.optical_flow import read_grey
from tdpn_core.video.probe import probe
from tdpn_core.video.source import Source
from tdpn_core.video.subprocess_limits import Limits, run_child
from tdpn_core.video.temp_file import disk_full, tells_full_disk

_LIMITS = Limits(seconds=4 * 3600.0)
_EVEN = "crop=trunc(iw/2)*2:trunc(ih/2)*2:0:0"
_OUTPUT: dict[str, Any] = {"c:v": "libx264", "preset": "veryfast", "crf": 20, "pix_fmt": "yuv420p", "format": "mp4"}


def shown_size(path: Path, program: Program) -> tuple[int, int]:
    """Return (height, width) of a video file as displayed.

    Raises:
        ClipError: it cannot be read.
    """
    stream = open_video(Encoding())[str(probe(path).video.index)]
    picture = {"c:v": "pgm", "pix_fmt": "gray", "format": "image2pipe", "frames:v": 1}
    finished = run_child(compiled(ffmpeg.output(stream, "pipe:1", **picture), program, path), Limits(), where=path)
    if not finished.output:
        lines = complaints(finished.log)
        raise ClipError(f"cannot be decoded ({lines[0][:160] if lines else 'no frames'})", where=path)
    height, width = read_grey(finished.output).shape
    return height, width


def video_seconds(path: Path) -> float | None:
    """Return the length of a video file according to its header; None if it has none.

    Raises:
        ClipError: it cannot be read.
    """
    found = probe(path)
    return found.video.seconds or found.seconds


def overlay_file(
    source: Source, strips: Iterable[bytes], height: int, rate: float, out: Path, program: Program
) -> None:
    """Add strips below a video file, or a part of it; its pictures, their times and its sound are unchanged.

    Args:
        source: a video file.
        strips: PNG files, one after another, of the video's width; may be endless, since the video's end stops them.
        height: height of a strip in pixels, even.
        rate: strips per second.
        out: the MP4 file to write, atomically.
        program: ffmpeg.
    """
    seek = {} if source.start != source.start else {"ss": f"{source.start:.6f}"}
    until = {} if source.stop != source.stop else {"to": f"{source.stop:.6f}"}
    video = open_video(Encoding(), **seek, **until)
    options = {"c:a": "aac", "fps_mode": "vfr", "map_metadata": -1, **_OUTPUT}
    laid = _laid(video[str(probe(source.path).video.index)], height, rate)
    output = ffmpeg.output(laid, video["a?"], "fd:", fd=1, **options)
    _run(compiled(output, program, source.path), strips, out, source.path)


def overlay_pictures(
    items: Path, fps: float, strips: Iterable[bytes], height: int, rate: float, out: Path, program: Program
) -> None:
    """Add strips below a file of consecutive JPEGs, as `overlay_file` does."""
    video = ffmpeg.input(f"file:{items}", format="mjpeg", framerate=repr(fps), threads=1)
    output = ffmpeg.output(_laid(video, height, rate), "fd:", fd=1, **_OUTPUT)
    _run(_plain(output, program), strips, out, items)


def write_pictures(
    pictures: Iterable[bytes], size: tuple[int, int], fps: float, out: Path, program: Program, *, where: Path
) -> None:
    """Write RGB pictures of `size` (height, width), both even, as a video.

    Raises:
        ClipError: any error of `pictures`; the file is then removed.
    """
    shape = {"pixel_format": "rgb24", "video_size": (size[1], size[0])}
    video = ffmpeg.input("pipe:0", format="rawvideo", framerate=repr(fps), **shape)
    _run(_plain(ffmpeg.output(video, "fd:", fd=1, **_OUTPUT), program), pictures, out, where)


def _laid(video: Any, height: int, rate: float) -> Any:
    captions = ffmpeg.input("pipe:0", format="png_pipe", framerate=repr(rate))
    even = video.filter("crop", "trunc(iw/2)*2", "trunc(ih/2)*2", 0, 0)
    room = even.filter("pad", "iw", f"ih+{height}", 0, 0)
    return ffmpeg.overlay(room, captions, x=0, y="H-h", shortest=1)


def _plain(output: Any, program: Program) -> list[str]:
    quiet = output.global_args("-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info")
    return [str(part) for part in quiet.compile(cmd=program.path)]


def _run(command: list[str], feed: Iterable[bytes], out: Path, where: Path) -> None:
    with atomic_path(out) as temporary, temporary.open("w+b") as file:
        _checked(command, feed, file, where)


def _checked(command: list[str], feed: Iterable[bytes], file: IO[bytes], where: Path) -> None:
    finished = run_child(command, _LIMITS, where=where, output=file, feed=feed)
    if tells_full_disk(finished.log):
        raise disk_full(Path(file.name))
    if finished.status != 0 or file.seek(0, 2) == 0:
        lines = complaints(finished.log)
        raise ClipError(f"cannot be annotated ({lines[0][:160] if lines else 'no frames'})", where=where)
