"""Check that all of a video file was decoded, by comparing decoded frames with the packets in the file.

ffmpeg's exit status is not sufficient: it is 0 for a file cut in half. Nor is the container's length: another stream
may be longer than the video, and the first frame need not be at 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tdpn_core.video.probe import Probe

_HEADED = frozenset(("mov", "matroska", "flv", "asf"))  # formats whose header contains the length; others estimate it


_OPEN_ENDED = (0x18538067, 0x1F43B675)  # Matroska's Segment and Cluster
_BOXES = frozenset((b"moof", b"mdat", b"mfra", b"sidx", b"ssix", b"styp", b"prft", b"emsg", b"free", b"skip", b"uuid"))
"""Boxes between and after the fragments of an MP4 file; other bytes there are no part of it."""


@dataclass(frozen=True)
class Decoded:
    """Result of one pass over a complete file."""

    frames: int
    fps: float
    complaints: list[str]
    """ffmpeg's error lines."""


def fault(path: Path, probe: Probe, decoded: Decoded) -> str | None:
    """Describe what is missing from a file; None if it is complete.

    Args:
        path: the file.
        probe: scanned probe of the file.
        decoded: result of decoding all of it.
    """
    video, count, promised = probe.video, decoded.frames, _avi_frames(path)
    formats = set(probe.container.split(","))
    if promised is not None and promised > count:
        return f"truncated: {count} of {promised} frames"
    if "mov" in formats and video.tick >= 1 and video.frames > count:  # libav's placeholder for a missing clock
        return "damaged: its header does not contain the time base"
    if "mov" in formats and video.frames and video.seconds is None:  # the clock of the whole file instead of its own
        return "damaged: its header does not contain the video's length"
    if "mov" in formats and video.frames > video.packets:
        return f"truncated: {count} of {video.frames} frames"
    if formats & _HEADED and not ("mov" in formats and video.frames):
        stated = round((video.seconds or probe.seconds or 0) * decoded.fps)
        cut = is_cut(path, probe)
        if cut and "mov" in formats:  # the length is that of the fragments that are there
            return f"truncated: the file ends after {count} frames, within a fragment"
        if cut and not stated:
            return f"truncated: the file ends after {count} frames without its end mark"
        if missing_seconds(probe) > slack(decoded.fps) or (cut and stated > count):
            return f"truncated: {count} of {stated} frames"
    if decoded.complaints and video.shown > count:
        return f"damaged: {count} of {video.shown} frames can be decoded"
    return None


def is_cut(path: Path, probe: Probe) -> bool:
    """Return whether a scanned file ends within a packet or another part of its container."""
    formats = probe.container.split(",")
    if "mov" in formats and not probe.video.frames and _fragment_is_cut(path):
        return True
    return probe.corrupt or ("matroska" in formats and _matroska_is_cut(path))


def missing_seconds(probe: Probe) -> float:
    """Return by how many seconds a scanned file's packets end before the length in its header."""
    if not set(probe.container.split(",")) & _HEADED:
        return 0.0
    if probe.video.seconds is not None:
        return probe.video.seconds - (probe.video.end or 0.0)
    return (probe.seconds or 0.0) - probe.end


def slack(fps: float) -> float:
    """Return by how many seconds header and packets may differ in complete files (rounding, encoder delay)."""
    return max(4 / fps, 0.2)


def _avi_frames(path: Path) -> int | None:
    """Return the number of frames that a *cut* AVI file promises; None for a complete one and other formats.

    libav estimates an AVI file's length from its size, so that a cut file looks complete; but the RIFF header contains
    the original length (bytes 4 to 8) and the number of frames (bytes 48 to 52).
    """
    with path.open("rb") as source:
        head = source.read(52)
        length = source.seek(0, 2)
    if len(head) < 52 or head[:4] != b"RIFF" or head[8:12] != b"AVI " or head[24:28] != b"avih":
        return None
    promised = int.from_bytes(head[4:8], "little") + 8
    return int.from_bytes(head[48:52], "little") if length < promised else None


def _fragment_is_cut(path: Path) -> bool:
    """Return whether a fragmented MP4 file ends within a box, which libav ignores if no frame of it is there.

    A cut between two fragments leaves a valid file: many writers add nothing after the last one.
    """
    length, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at < length:
            file.seek(at)
            head = file.read(16)
            if len(head) < 8:
                return any(head)
            size, name = int.from_bytes(head[:4], "big"), head[4:8]
            if size == 1:
                size = int.from_bytes(head[8:16], "big")
            if size < 8:  # 0: up to the end of the file
                return False
            if at + size > length:
                return name in _BOXES
            at += size
    return False


def _matroska_is_cut(path: Path) -> bool:
    """Return whether a Matroska or WebM element extends beyond the file's end, which libav treats as its end."""
    length = path.stat().st_size
    with path.open("rb") as file:
        at = 0
        while at < length:
            file.seek(at)
            head = file.read(12)
            name, name_bytes = _vint(head, keep_mark=True)
            size, size_bytes = _vint(head[name_bytes:], keep_mark=False)
            if not name_bytes or not size_bytes:
                return True
            at += name_bytes + size_bytes
            if size is None and name in _OPEN_ENDED:
                continue  # a live recording: go on inside
            at += size or 0
    return at > length


def _vint(data: bytes, *, keep_mark: bool) -> tuple[int | None, int]:
    """Return a variable-length EBML number (None: all ones, "unknown") and its bytes; no bytes for invalid data."""
    count = 9 - data[0].bit_length() if data else 0
    if not 1 <= count <= min(8, len(data)):
        return 0, 0
    value = int.from_bytes(data[:count], "big")
    if keep_mark:
        return value, count
    value &= (1 << 7 * count) - 1
    return (None if value == (1 << 7 * count) - 1 else value), count
