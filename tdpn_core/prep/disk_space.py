"""Estimate the disk space that a preparation needs, before it starts."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable
from pathlib import Path

from tdpn_core.errors import ClipError, TdpnError
from tdpn_core.video.encode_options import Encoding
from tdpn_core.video.probe import probe
from tdpn_core.video.source import Source

SAMPLE = 6
"""Number of clips whose headers are read."""

_BYTES_PER_PIXEL = {"jpeg": 0.16, "video": 0.016, "flow": 0.12}
"""Measured on real clips at the default quality; single clips are between 0.6 and 2 times that."""

_USUAL_PIXELS = 256 * 340
_REFUSE_BELOW = 0.5  # share of the estimate, which may be wrong by a factor of two


def check_room(folder: Path, clips: int, sample: Iterable[Source], encoding: Encoding) -> str | None:
    """Compare free disk space with the estimated size of the clips.

    Args:
        folder: folder on the disk.
        clips: number of clips to pack.
        sample: some of these clips.
        encoding: how they are encoded.

    Returns:
        A warning if space may not suffice.

    Raises:
        TdpnError: space will not suffice.
    """
    sizes = [size for source in sample if (size := clip_bytes(source, encoding))]
    if not sizes:
        return None
    needed = clips * sum(sizes) / len(sizes)
    free = shutil.disk_usage(folder).free
    what = f"{clips} clips need about {_size(needed)}, but {_size(free)} are free"
    if free < _REFUSE_BELOW * needed:
        raise TdpnError(what, where=folder, hint="free some space, choose another --out, or pack with --codec video")
    return what if free < needed else None


def clip_bytes(source: Source, encoding: Encoding) -> float | None:
    """Estimate the packed size of a clip from its header; None if the header is not sufficient."""
    if source.kind != "video":
        return _numbered_bytes(source)
    try:
        found = probe(source.path, max_pixels=encoding.max_pixels)
    except ClipError:
        return None
    video = found.video
    seconds = video.seconds or found.seconds
    if not seconds or not video.width:
        return None
    start = 0.0 if math.isnan(source.start) else source.start
    stop = seconds if math.isnan(source.stop) else min(source.stop, seconds)
    frames = max(stop - start, 0) * (encoding.fps or (float(video.rates[0]) if video.rates else 25))
    short = min(video.width, video.height)
    scale = encoding.short_side / short if encoding.enlarge else min(1.0, encoding.short_side / short)
    kind = "flow" if encoding.modality == "flow" else encoding.codec
    return frames * video.width * video.height * scale**2 * _BYTES_PER_PIXEL[kind]


def _numbered_bytes(source: Source) -> float | None:
    """Estimate the size of frames in a folder or archive from their file sizes or number."""
    if source.first >= 0 and source.last >= source.first:
        return (source.last - source.first + 1) * _USUAL_PIXELS * _BYTES_PER_PIXEL["jpeg"]
    try:
        if source.kind == "frames":
            return float(sum(path.stat().st_size for path in source.path.iterdir() if path.is_file()))
        return float(source.path.stat().st_size)
    except OSError:
        return None


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
