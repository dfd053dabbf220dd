"""How much room a preparation will take, before it begins."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tdpn_core.errors import ClipError, TdpnError
from tdpn_core.video.child import Limits, run_child
from tdpn_core.video.command import PICTURE, compiled, open_video
from tdpn_core.video.encoding import Encoding
from tdpn_core.video.log import read_header
from tdpn_core.video.program import Program
from tdpn_core.video.source import Source

SAMPLE = 6
"""Clips whose headers are looked at."""

_LIMITS = Limits(seconds=20)
_BYTES_PER_PIXEL = {"jpeg": 0.16, "video": 0.016, "flow": 0.12}
"""As measured over real clips at the default quality; single ones lie between 0.6 and 2 times that."""

_USUAL_PIXELS = 256 * 340
_REFUSE_BELOW = 0.5  # of the estimate: it may be wrong by a factor of two


def check_room(folder: Path, clips: int, sample: Iterable[Source], encoding: Encoding, program: Program) -> str | None:
    """Compare the free space with what the clips will take.

    Args:
        folder: on the disk in question.
        clips: that are still to be packed.
        sample: some of them.
        encoding: how.
        program: ffmpeg.

    Returns:
        A warning where it may not suffice.

    Raises:
        TdpnError: it will not suffice.
    """
    with ThreadPoolExecutor(SAMPLE) as pool:  # before the first clip, so that it is not to be waited for long
        sizes = [size for size in pool.map(lambda source: clip_bytes(source, encoding, program), sample) if size]
    if not sizes:
        return None
    needed = clips * sum(sizes) / len(sizes)
    free = shutil.disk_usage(folder).free
    what = f"about {_size(needed)} are needed for {clips} clips, and {_size(free)} are free"
    if free < _REFUSE_BELOW * needed:
        raise TdpnError(what, where=folder, hint="free some space, choose another --out, or pack with --codec video")
    return what if free < needed else None


def clip_bytes(source: Source, encoding: Encoding, program: Program) -> float | None:
    """What a clip will take, from its header alone; None: that does not tell."""
    if source.kind != "video":
        return _numbered_bytes(source)
    command = compiled(_header_only(encoding), program, source.path)
    try:
        header = read_header(run_child(command, _LIMITS, where=source.path).log)
    except ClipError:
        return None
    if header is None or not header.seconds or not header.width:
        return None
    start = 0.0 if math.isnan(source.start) else source.start
    stop = header.seconds if math.isnan(source.stop) else min(source.stop, header.seconds)
    frames = max(stop - start, 0) * (encoding.fps or header.fps or 25)
    short = min(header.width, header.height)
    scale = encoding.short_side / short if encoding.enlarge else min(1.0, encoding.short_side / short)
    kind = "flow" if encoding.modality == "flow" else encoding.codec
    return frames * header.width * header.height * scale**2 * _BYTES_PER_PIXEL[kind]


def _numbered_bytes(source: Source) -> float | None:
    """Frames in a folder or archive: their own sizes, or their number."""
    if source.first >= 0 and source.last >= source.first:
        return (source.last - source.first + 1) * _USUAL_PIXELS * _BYTES_PER_PIXEL["jpeg"]
    try:
        if source.kind == "frames":
            return float(sum(path.stat().st_size for path in source.path.iterdir() if path.is_file()))
        return float(source.path.stat().st_size)
    except OSError:
        return None


def _header_only(encoding: Encoding) -> object:
    import ffmpeg

    return ffmpeg.output(open_video(encoding)[PICTURE], "pipe:1", format="null", c="copy", t=0)


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
