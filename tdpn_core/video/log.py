"""What ffmpeg says about a file: what the container promises, and what went wrong while reading it.

ffmpeg's exit status says little: a file cut in half ends with 0. Its log does tell, and so does a comparison with the
header; together they catch a cut file without accusing one whose sound is longer than its picture.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tdpn_core.errors import ClipError, ClipRefused

CONTAINERS = "mov,matroska,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg"  # demuxers that read one file and no playlist

_DURATION = re.compile(r"^\[info\]   Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", re.MULTILINE)
_TAGGED = re.compile(r"^\S* *DURATION\s*: (\d+):(\d\d):(\d\d(?:\.\d+)?)", re.MULTILINE)
_CONTAINER = re.compile(r"^\[info\] Input #0, (\S+), from", re.MULTILINE)
_STREAM = re.compile(
    r"^\[info\]   Stream #0:\d+.*?: Video: (?!.*\((?:attached pic|timed thumbnails)\))(.*)", re.MULTILINE
)
_OUTPUT = re.compile(r"^\[info\] Output #0, .*?\[info\]   Stream #0:0.*?: Video: (.*?)$", re.MULTILINE | re.DOTALL)
_HEADER_END = re.compile(r"^\[info\] (?:Stream mapping:|Output #0, )", re.MULTILINE)
_SIZE = re.compile(r"[ ,](\d{1,6})x(\d{1,6})[ ,\n]")
_RATE = re.compile(r"([\d.]+)(k?) (?:fps|tbr)")
_ROTATION = re.compile(r"rotation of (-?\d+(?:\.\d+)?) degrees")
_TIME = re.compile(r"time=(\d+):(\d\d):(\d\d(?:\.\d+)?)")
_FRAMES = re.compile(r"frame= *(\d+)")
_DECODED = re.compile(r"Input stream #0:\d+ \(video\):.*?; (\d+) frames decoded")
_COMPLAINT = re.compile(r"^(?:\[[^\]]* @ \w+\] ?)*\[(?:error|fatal|panic)\] (.*)", re.MULTILINE)
_NO_CLOCK = re.compile(r"Invalid mdhd time scale")  # edit lists are then meaningless, and drop frames unseen
_CUT = re.compile(r"File ended prematurely|partial file|Packet corrupt|corrupt input packet|atom truncated")

_NOT_VIDEO = "not a video: no known container or damaged header"
_NO_INDEX = "truncated: the file's index is missing or cut"
_MOV_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
_REASONS = (  # the first that the log holds explains why nothing could be decoded
    (re.compile(r"not on whitelist"), "not a video container that is read here"),
    (re.compile(r"exceeds specified max pixel count"), "{size} exceeds the limit of {max_pixels} pixels"),
    (re.compile(r"moov atom not found|atom truncated|corrupted \w+ atom|error reading header"), _NO_INDEX),
    (re.compile(r"File ended prematurely"), "truncated: the file ends before its first frame"),
    (re.compile(r"matches no streams"), "no video stream"),
    (re.compile(r"No such file"), "no such file"),
    (re.compile(r"Permission denied"), "no permission to read it"),
    (re.compile(r"Invalid data found when processing input"), _NOT_VIDEO),
    (re.compile(r"[Dd]ecoder \(codec|Decoder not found|unknown codec"), "its codec cannot be decoded"),
)


@dataclass(frozen=True)
class Header:
    """What the container says about itself and its first video stream."""

    container: str
    seconds: float | None
    """Length of the longest stream, from the file's start; None: it does not say."""

    video_seconds: float | None
    """Length of the video stream, where a tag tells it."""

    fps: float | None
    width: int
    height: int
    """Size as it is shown: after the rotation that the metadata asks for."""


def read_header(log: str) -> Header | None:
    """The first input's header in ffmpeg's log, or None if it found no video."""
    header = _HEADER_END.split(log, maxsplit=1)[0]  # by whole lines: a title could hold any of these words
    container, stream = _CONTAINER.search(header), _STREAM.search(header)
    if container is None or stream is None:
        return None
    details = header[stream.start() :].partition("\n")[2].partition("Stream #0:")[0]
    size, rate = _SIZE.search(stream[1] + "\n"), _RATE.search(stream[1])
    width, height = (int(size[1]), int(size[2])) if size else (0, 0)
    rotation = _ROTATION.search(details)
    if rotation and round(float(rotation[1])) % 180 == 90:
        width, height = height, width
    return Header(
        container=container[1],
        seconds=_seconds(_DURATION.search(header)),
        video_seconds=_seconds(_TAGGED.search(details)),
        fps=nominal_rate(float(rate[1]) * (1000 if rate[2] else 1)) if rate else None,
        width=width,
        height=height,
    )


def output_size(log: str) -> tuple[int, int] | None:
    """(height, width) of the encoded frames; None if the log does not hold it, which may be too long."""
    stream = _OUTPUT.search(log)
    size = _SIZE.search(stream[1] + "\n") if stream else None
    return (int(size[2]), int(size[1])) if size else None


def nominal_rate(printed: float) -> float:
    """Undo the rounding of a printed rate: 29.97 is 30000 / 1001."""
    whole = round(printed * 1.001)
    ntsc = whole / 1.001
    return ntsc if printed != round(printed) and abs(ntsc - printed) < 0.006 else printed


def complaints(log: str) -> list[str]:
    """ffmpeg's error lines, without its prefixes, each once."""
    return list(dict.fromkeys(line.strip() for line in _COMPLAINT.findall(log)))


def no_frames(log: str, path: Path, max_pixels: int) -> ClipError:
    """The error of a file out of which no frame came."""
    reason = explain(log, path, max_pixels)
    return (ClipRefused if "exceeds the limit" in reason else ClipError)(reason, where=path)


def explain(log: str, path: Path, max_pixels: int) -> str:
    """Why no frame came out of `path`, in a few words."""
    if path.is_file() and path.stat().st_size == 0:
        return "an empty file"
    header = read_header(log)
    size = f"{header.width}x{header.height}" if header else "its size"
    for pattern, reason in _REASONS:
        if pattern.search(log):
            if reason == _NO_INDEX and not _looks_like_mov(path):
                return _NOT_VIDEO  # taken for a film only by its name
            return reason.format(size=size, max_pixels=max_pixels)
    lines = complaints(log)
    return f"cannot be decoded ({lines[0][:120]})" if lines else "no frame could be decoded"


def _looks_like_mov(path: Path) -> bool:
    try:
        with path.open("rb") as source:
            return source.read(8)[4:] in _MOV_BOXES
    except OSError:
        return False


def copied_length(log: str) -> tuple[int, float]:
    """Packets of the first stream and the latest time in seconds that a pass over a file reached."""
    counts, times = _FRAMES.findall(log), list(_TIME.finditer(log))
    return (int(counts[-1]) if counts else 0), ((_seconds(times[-1]) or 0.0) if times else 0.0)


def decoded_frames(log: str) -> int | None:
    """Frames that came out of the decoder, before any filter; only a log of level `verbose` tells."""
    found = _DECODED.search(log)
    return int(found[1]) if found else None


def avi_frames(path: Path) -> int | None:
    """Frames that a *cut* AVI file promises; None for a whole one and for any other file.

    ffmpeg guesses the length of an AVI file from its size, so that a cut one looks whole; but the RIFF header knows
    how long the file was (bytes 4 to 8) and how many frames it had (bytes 48 to 52).
    """
    with path.open("rb") as source:
        head = source.read(52)
        length = source.seek(0, 2)
    if len(head) < 52 or head[:4] != b"RIFF" or head[8:12] != b"AVI " or head[24:28] != b"avih":
        return None
    promised = int.from_bytes(head[4:8], "little") + 8
    return int.from_bytes(head[48:52], "little") if length < promised else None


@dataclass(frozen=True)
class Decoded:
    """What one pass over a clip gave, beside what was to be expected of it."""

    log: str
    header: Header
    count: int
    """Frames."""

    end: float
    """Seconds from the start of the part that was asked for to the end of the last frame."""

    fps: float
    seconds: float | None
    """Length of the part that was asked for, as the container promises it."""

    promised: int | None
    """Frames of a cut AVI file (`avi_frames`)."""

    @property
    def expected(self) -> int:
        """Frames that the container promises; 0 if nothing."""
        return (
            self.promised if self.promised is not None else round((self.seconds or 0) * (self.header.fps or self.fps))
        )

    @property
    def slack(self) -> float:
        """Seconds by which headers and frames differ in whole files: rounding, encoder delay, a start offset."""
        return max(4 / self.fps, 0.2)

    @property
    def silently_short(self) -> bool:
        """The picture ends clearly before the promise, and nothing in the log says why: long sound, or a cut?"""
        return (self.seconds or 0) - self.end > self.slack and self.header.container != "avi"

    @property
    def complaints(self) -> list[str]:
        """ffmpeg's error lines."""
        return complaints(self.log) or (["corrupt decoded frame"] if "corrupt decoded frame" in self.log else [])

    def cut(self) -> str | None:
        """The fault of a file that evidently ends before its time; None if nothing speaks for that."""
        if _NO_CLOCK.search(self.log):
            return "damaged: its header does not tell how long a second is"
        missing = self.expected - self.count
        if missing > 0 and (self.promised is not None or _CUT.search(self.log)):
            return f"truncated: {self.count} of {self.expected} frames"
        if self.seconds is None and _CUT.search(self.log):
            return f"truncated: the file ends after {self.count} frames without its end mark"
        return None

    def second_look(self, packets: int, reach: float) -> str | None:
        """The fault, if any, in the light of a pass over all streams that decoded nothing.

        Args:
            packets: of the video stream; 0 if they say nothing, since only a part was asked for.
            reach: the time in seconds that any stream came to, in the part that was asked for.
        """
        if self.silently_short and (self.seconds or 0) - reach > self.slack:
            return f"truncated: {self.count} of {self.expected} frames"
        if self.complaints and packets > self.count:
            return f"damaged: {self.count} of {packets} frames can be decoded"
        return None


def _seconds(match: re.Match[str] | None) -> float | None:
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]) if match else None
