"""ffmpeg command lines for one pass over a clip."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import ffmpeg

from tdpn_core.video.containers import CONTAINERS
from tdpn_core.video.encode_options import Encoding
from tdpn_core.video.ffmpeg_binary import Program
from tdpn_core.video.subprocess_limits import SIDE_CHANNEL
from tdpn_core.video.url import Address

PICTURE = "V:0"
"""ffmpeg's first video stream that is not a cover picture, for inputs that cannot be probed."""

_INPUT = "INPUT"  # placeholder for the file name, which ffmpeg-python requires to be UTF-8
_CRF_OFFSET = 16  # scale 2 becomes rate factor 18, visually lossless
_GROUP = 8  # frames between key frames: reaching any frame takes at most 8 decoded frames
_NOMINAL_FPS = 30  # the encoder's clock counts frames; true times go to the side channel

# A line for each decoded frame, `frame:0 pts:1 pts_time:0.04`, written as it passes. Only this key is printed: the
# frames of a file may carry others.
_MARK = "tdpn"
_KEY_LINE = f"{_MARK}=".encode()
# Another name of the descriptor: two threads of ffmpeg would share a file of one name without locking. `direct` writes
# complete lines, so that they do not mix with those of the encoder.
_STAMPS = (
    f"metadata=mode=add:key={_MARK}:value=1",
    f"metadata=mode=print:key={_MARK}:file='pipe\\:0{SIDE_CHANNEL}':direct=1",
)

# Encoders refuse time stamps that repeat or decrease, so theirs are frame numbers.
_COUNT = (f"settb=1/{_NOMINAL_FPS}", "setpts=N")


def open_video(encoding: Encoding, **options: Any) -> Any:
    """Return an ffmpeg-python input for an untrusted file: one thread, local files, containers only, bounded picture.

    `compiled` inserts the file's name.
    """
    return ffmpeg.input(
        _INPUT,
        threads=1,  # clips run in parallel; and one thread decodes a damaged clip deterministically
        protocol_whitelist="file,pipe",
        format_whitelist=CONTAINERS,
        max_pixels=encoding.max_pixels,
        **options,
    )


def compiled(stream: Any, program: Program, path: Path) -> list[str]:
    """Compile an ffmpeg-python output stream to a command that reads `path`."""
    return _named(_compiled(stream, program), path)


def video_command(
    path: Path, stream: int, program: Program, encoding: Encoding, start: float, stop: float, *, first: bool = False
) -> list[str]:
    """Return the command that decodes a stream, or its part from `start` to `stop`, and encodes it to standard output.

    Lines that `Reported` parses go to the side channel: one per decoded frame and one per encoded frame. With `first`,
    only the first frame is encoded, whatever the rate, and only its size is reported.
    """
    part = (None if math.isnan(start) else start, None if math.isnan(stop) else stop)
    return _named(_video_command(stream, program, encoding, *part, first), path)


def pictures_command(program: Program, encoding: Encoding, fps: float, size: tuple[int, int] | None) -> list[str]:
    """Return the same command for pictures from standard input: raw RGB of `size` (height, width), or PNG if None."""
    if size is None:
        source = ffmpeg.input("pipe:0", format="png_pipe", framerate=repr(fps), threads=1)
    else:
        shape = {"pixel_format": "rgb24", "video_size": (size[1], size[0])}
        source = ffmpeg.input("pipe:0", format="rawvideo", framerate=repr(fps), threads=1, **shape)
    return list(_compiled(_output(source[PICTURE], [*_STAMPS], encoding), program))


def address_command(address: Address, program: Program, encoding: Encoding, stop: float) -> list[str]:
    """Return the same command for an address, until second `stop` unless NaN; each frame is passed on at once."""
    source = ffmpeg.input(address.name, threads=1, max_pixels=encoding.max_pixels, **dict(address.options))
    trim = [] if math.isnan(stop) else [f"trim=end={stop:.6f}"]
    return list(_compiled(_output(source[PICTURE], [*trim, *_STAMPS], encoding, flush_packets=1), program))


class Reported:
    """Parsed output of the side channel: time stamps of decoded frames, sizes of encoded ones."""

    def __init__(self) -> None:
        self.stamps: deque[int | None] = deque()
        """In ticks; None if neither the container nor the decoder provides one."""
        self.sizes: deque[int] = deque()
        """In bytes."""
        self.tick = Fraction(0)
        """In seconds; known from the first encoded frame on."""
        self._rest = b""

    def add(self, data: bytes) -> None:
        """Parse `data`, which may end within a line.

        Raises:
            ValueError: the lines have another format.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"frame:"):
                stamp = line.partition(b"pts:")[2].split()[0]
                self.stamps.append(None if stamp == b"NOPTS" else int(stamp))
            elif line and not line.startswith(_KEY_LINE):
                size, tick = line.split()
                self.sizes.append(int(size))
                over, under = map(int, tick.split(b"/"))
                self.tick = Fraction(over, under) if under else self.tick

    def seconds(self, stamp: int | None) -> float:
        """A time stamp in seconds; NaN: missing."""
        return math.nan if stamp is None or not self.tick else stamp * self.tick.numerator / self.tick.denominator


@lru_cache(maxsize=64)
def _video_command(
    index: int, program: Program, encoding: Encoding, start: float | None, stop: float | None, first: bool
) -> tuple[str, ...]:
    seek = {} if start is None else {"ss": f"{start:.6f}"}
    # With a filter: ffmpeg's own -to counts from the first frame and includes one too many.
    trim = [] if stop is None else [f"trim=end={stop - (start or 0):.6f}"]
    stream = open_video(encoding, **seek)[str(index)]
    if first:
        return _compiled(_output(stream, [*trim, "trim=end_frame=1"], replace(encoding, fps=None)), program)
    return _compiled(_output(stream, [*trim, *_STAMPS], encoding), program)


def _output(stream: Any, filters: list[str], encoding: Encoding, **more: Any) -> Any:
    """Scale and encode frames to standard output."""
    if encoding.fps is not None:
        filters = [*filters, f"fps={encoding.fps!r}"]
    packed, options = _packing(encoding)
    return ffmpeg.output(
        stream,
        options.pop("target", "pipe:1"),
        vf=",".join([*filters, *_COUNT, f"{_scale(encoding)}:{packed}"]),
        fps_mode="passthrough",
        enc_time_base=f"1:{_NOMINAL_FPS}",
        threads=1,
        stats_enc_post=f"pipe:{SIDE_CHANNEL}",
        stats_enc_post_fmt="{size} {tbi}",
        **options,
        **more,
        **{"flags:v": "+bitexact", "frames:v": encoding.max_frames + 1},  # bitexact: omits the encoder's version
    )


def _scale(encoding: Encoding) -> str:
    side = str(encoding.short_side)
    wide, high = (side, side) if encoding.enlarge else (f"min(iw,{side})", f"min(ih,{side})")
    return f"scale=w='if(lte(iw,ih),{wide},-1)':h='if(lte(iw,ih),-1,{high})'"


def _packing(encoding: Encoding) -> tuple[str, dict[str, Any]]:
    """Return the last filters and the encoder options."""
    if encoding.modality == "flow":  # self-contained grey pictures
        return "out_range=full,format=gray", {"c:v": "pgm", "format": "image2pipe"}
    if encoding.codec == "jpeg":  # JPEG readers assume full-range BT.601
        colours = "out_color_matrix=bt601:out_range=full,format=yuvj420p"
        return colours, {"c:v": "mjpeg", "q:v": encoding.quality, "format": "image2pipe"}
    colours = "out_color_matrix=bt601:out_range=tv,format=yuv420p,setsar=1,crop=trunc(iw/2)*2:trunc(ih/2)*2:0:0"
    group = f"keyint={_GROUP}:min-keyint={_GROUP}:scenecut=0:bframes=0:force-cfr=1"
    return colours, {
        "target": "fd:",  # seekable, unlike a pipe, to write the index at the end
        "fd": 1,
        "c:v": "libx264",
        "preset": "veryfast",
        "crf": encoding.quality + _CRF_OFFSET,
        "x264-params": group,
        "bsf:v": "filter_units=remove_types=6",  # 6: metadata about the encoder
        "map_metadata": -1,
        "fflags": "+bitexact",
        "format": "mp4",
    }


def _compiled(stream: Any, program: Program) -> tuple[str, ...]:
    quiet = stream.global_args("-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+error")
    return tuple(str(part) for part in quiet.compile(cmd=program.path))


def _named(command: tuple[str, ...], path: Path) -> list[str]:
    return [f"file:{path}" if part == _INPUT else part for part in command]
