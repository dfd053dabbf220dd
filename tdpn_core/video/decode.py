"""Chosen frames of any video file, for prediction: by random access where that is exact, else by decoding through.

decord finds a frame by the container's index. That is exact for MP4 and Matroska families, but it is off by a whole
group of pictures in MPEG-1 and in AVI files with packed frames, and by the skipped frames where an edit list skips
some. So it is used only where the container's promise, the packets and decord agree on the number of frames.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from tdpn_core.errors import ClipError
from tdpn_core.video import _decord_child
from tdpn_core.video.child import LIMITS, Limits, run_child
from tdpn_core.video.command import PICTURE, compiled, open_video
from tdpn_core.video.encoding import Encoding, scaled_size
from tdpn_core.video.log import Decoded, Header, avi_frames, copied_length, no_frames, read_header
from tdpn_core.video.program import Program, find_ffmpeg

_INDEXED = ("mov", "matroska")
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "DECORD_LOG_LEVEL": "quiet"}


@dataclass(frozen=True)
class VideoInfo:
    """What there is to choose frames from."""

    frames: int
    fps: float
    width: int
    height: int
    """Size in pixels as shown, rotation applied."""

    indexed: bool
    """Frames can be reached by the container's index."""

    def scaled(self, short_side: int) -> tuple[int, int]:
        """(height, width) with the shorter side at most `short_side`, as preparation scales."""
        return scaled_size(self.height, self.width, short_side)


def probe_video(path: Path, *, program: Program | None = None, limits: Limits = LIMITS) -> VideoInfo:
    """Count a video's frames and read its rate and size.

    Raises:
        ClipError: not a video, or cut off.
    """
    if not path.is_file():
        raise ClipError("no such file" if not path.exists() else "not a regular file", where=path)
    program = program or find_ffmpeg()
    header, packets, reach = _pass_over(path, program, limits, {"c": "copy"})
    promised = round((header.seconds or 0) * (header.fps or 0))
    if header.container.startswith(_INDEXED) and abs(promised - packets) <= 1:
        return VideoInfo(packets, header.fps or packets / reach, header.width, header.height, indexed=True)
    header, frames, reach = _pass_over(path, program, limits, {"fps_mode": "passthrough"})
    measured = frames / reach if reach > 0 else 25.0
    near = header.fps is not None and abs(measured / header.fps - 1) < 0.05  # else it varies, or the header is wrong
    return VideoInfo(frames, (near and header.fps) or measured, header.width, header.height, indexed=False)


def read_frames(
    path: Path,
    indices: Sequence[int],
    size: tuple[int, int],
    *,
    info: VideoInfo | None = None,
    program: Program | None = None,
    limits: Limits = LIMITS,
) -> NDArray[np.uint8]:
    """Decode frames by number.

    Args:
        path: a video file.
        indices: K frame numbers from 0, in any order, repeats allowed.
        size: (H, W) in pixels that they are scaled to; `VideoInfo.scaled` gives a good one.
        info: of `probe_video`; without it, the file is probed.
        program: ffmpeg.
        limits: of each child process.

    Returns:
        (K, H, W, 3) RGB.

    Raises:
        ClipError: the file cannot be decoded, or has no such frame.
    """
    program = program or find_ffmpeg()
    info = info or probe_video(path, program=program, limits=limits)
    wanted = sorted(set(indices))
    if not wanted or wanted[0] < 0 or wanted[-1] >= info.frames:
        raise ClipError(f"has frames 0 to {info.frames - 1}, not {list(indices)[:8]}", where=path)
    height, width = size
    pixels = _by_index(path, info, wanted, size, limits) if info.indexed else None
    if pixels is None:
        pixels = _decoded_through(path, wanted, size, program, limits)
    expected = len(wanted) * height * width * 3
    if len(pixels) != expected:
        raise ClipError(f"damaged: {len(pixels)} of {expected} bytes could be decoded", where=path)
    frames = np.frombuffer(pixels, np.uint8).reshape(len(wanted), height, width, 3)
    return frames[np.searchsorted(wanted, indices)]


def _pass_over(path: Path, program: Program, limits: Limits, mode: dict[str, Any]) -> tuple[Header, int, float]:
    """One pass of ffmpeg that keeps nothing: the header, the number of packets or frames, and the time reached."""
    source = open_video(Encoding())
    output = ffmpeg.output(source[PICTURE], "pipe:1", format="null", **mode)
    log = run_child(compiled(output, program, path), limits, where=path).log
    header, (count, reach) = read_header(log), copied_length(log)
    if header is None or count == 0:
        raise no_frames(log, path, Encoding().max_pixels)
    fps = header.fps or count / max(reach, 1e-3)
    fault = Decoded(log, header, count, reach, fps, header.video_seconds or header.seconds, avi_frames(path)).cut()
    if fault:
        raise ClipError(fault, where=path)
    return header, count, reach


def _by_index(path: Path, info: VideoInfo, wanted: list[int], size: tuple[int, int], limits: Limits) -> bytes | None:
    """Frames by random access, or None if decord does not see the same video as ffmpeg."""
    request = {
        "path": str(path.absolute()),  # absolute: no name can then look like an option or an address
        "frames": info.frames,
        "height": size[0],
        "width": size[1],
        "indices": wanted,
    }
    command = [sys.executable, "-m", _decord_child.__name__, json.dumps(request)]
    finished = run_child(command, limits, where=path, environment=_ENVIRONMENT)
    return finished.output if finished.status == 0 else None


def _decoded_through(path: Path, wanted: list[int], size: tuple[int, int], program: Program, limits: Limits) -> bytes:
    """Frames by decoding all up to the last one wanted."""
    chosen = "+".join(f"eq(n,{index})" for index in wanted)
    source = open_video(Encoding())
    output = ffmpeg.output(
        source[PICTURE],
        "pipe:1",
        vf=f"select='{chosen}',scale={size[1]}:{size[0]}",
        fps_mode="passthrough",
        format="rawvideo",
        pix_fmt="rgb24",
        **{"frames:v": len(wanted)},
    )
    finished = run_child(compiled(output, program, path), limits, where=path)
    if not finished.output:
        raise no_frames(finished.log, path, Encoding().max_pixels)
    return finished.output
