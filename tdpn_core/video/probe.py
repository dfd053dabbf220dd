"""Read a video file's metadata with libav: streams, sizes, rates, lengths, packets.

Untrusted files are opened only in a child process limited in memory, processor time and formats. Each thread has its
own child, which serves one file after another and is restarted when it has died or was killed.
"""

from __future__ import annotations

import json
import math
import os
import resource
import select
import subprocess
import sys
import threading
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from tdpn_core.errors import ClipError, ClipRefused, ToolError
from tdpn_core.video.containers import CONTAINERS
from tdpn_core.video.encode_options import Encoding
from tdpn_core.video.subprocess_limits import ChildError, cpu_seconds

_PROGRAM = Path(__file__).with_name("prober.py")
_MEMORY = 4 << 30  # bytes of address space
_CPU = 600  # seconds of processor time per file: a scan of several hundred gigabytes
_IDLE = 120.0  # seconds without an answer or use of processor time
_POLL = 5.0
_ANSWER = 8 << 20  # bytes
_MOV_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")

_NOT_VIDEO = "not a video: no known container or damaged header"
_NO_INDEX = "truncated: the file's index is missing or cut"
_REASONS = {
    "FileNotFoundError": "no such file",
    "PermissionError": "no permission to read it",
    "ArgumentError": "not a video: unsupported container format",
    "MemoryError": "its header asks for too much memory",
}


@dataclass(frozen=True)
class Stream:
    """One stream of a container."""

    index: int
    kind: str
    """Video, audio, subtitle, data or attachment."""

    codec: str
    cover: bool
    """Whether it is a cover picture or thumbnail."""

    default: bool
    """Whether the container marks it as default."""

    tick: float
    """Time base in seconds."""

    seconds: float | None
    """Length of this stream according to the container; None if not given."""

    frames: int
    """Number of frames according to the index or header; 0 if not given."""

    width: int
    height: int
    """In pixels, before rotation."""

    rates: tuple[Fraction, ...]
    """Frames per second: the average, and the lowest rate that fits all time stamps."""

    packets: int
    """Number of packets; 0 without a scan."""

    shown: int
    """Number of packets not hidden by an edit list."""

    corrupt: int
    """Number of packets that end early."""

    end: float | None
    """End of the last packet in seconds."""


@dataclass(frozen=True)
class Probe:
    """Metadata of a container."""

    container: str
    """ffmpeg's name of the format."""

    seconds: float | None
    start: float
    """In seconds: length according to the header, and first time stamp of all streams."""

    streams: tuple[Stream, ...]
    scanned: bool
    """Whether all packets were read, so that `packets`, `shown`, `corrupt` and `end` of the streams are known."""

    fault: str
    """Error that ended reading the packets; empty if none."""

    video: Stream
    """Stream to decode: see `main_stream`."""

    note: str | None
    """Which of several streams was chosen."""

    @property
    def end(self) -> float:
        """End of the last packet of any stream, in seconds."""
        return max((stream.end for stream in self.streams if stream.end is not None), default=0.0)

    @property
    def corrupt(self) -> bool:
        """Whether a packet ends early or reading failed: the file is cut or damaged."""
        return bool(self.fault) or any(stream.corrupt for stream in self.streams)

    @property
    def expected_frames(self) -> int:
        """Frames of the video stream: counted, else from the header, else length times rate; 0 if unknown."""
        seconds = self.video.seconds or self.seconds or 0.0
        rate = float(self.video.rates[0]) if self.video.rates else 0.0
        return self.video.shown or self.video.frames or round(seconds * rate)


def probe(path: Path, *, scan: bool = False, max_pixels: int | None = None) -> Probe:
    """Read a file's header; with `scan`, also every packet, which takes about as long as copying the file.

    Args:
        path: a regular file.
        scan: count packets.
        max_pixels: larger pictures are refused; None: the default of `Encoding`.

    Raises:
        ChildError: the reader died, hung, or exceeded its memory or processor time.
        ClipError: not a readable video.
        ClipRefused: the picture is too large.
    """
    if not path.is_file():
        raise ClipError("no such file" if not path.exists() else "not a regular file", where=path)
    if path.stat().st_size == 0:
        raise ClipError("an empty file", where=path)
    limit = max_pixels or Encoding.max_pixels
    request = {"path": str(path.absolute()), "formats": CONTAINERS, "max_pixels": limit, "scan": scan}
    answer = _reader().ask(request, path)
    if "error" in answer:
        raise ClipError(_reason(str(answer["error"]), path), where=path)
    found = _probe(answer, path)
    if found.video.width * found.video.height > limit:
        size = f"{found.video.width}x{found.video.height}"
        raise ClipRefused(f"{size} exceeds the limit of {limit} pixels (--max-pixels)", where=path)
    return found


def main_stream(streams: tuple[Stream, ...]) -> tuple[Stream | None, str | None]:
    """Return the video stream to decode, and a note if there was a choice.

    Cover pictures are skipped, as are streams of one packet if another has more. Of the rest: the one marked as
    default, then the largest picture, then the first.
    """
    films = [stream for stream in streams if stream.kind == "video" and not stream.cover]
    moving = [stream for stream in films if stream.packets > 1] or films
    if not films:
        return None, None
    best = max(moving, key=lambda stream: (stream.default, stream.width * stream.height, -stream.index))
    if len(films) == 1:
        return best, None
    number = films.index(best) + 1
    return best, f"video stream {number} of {len(films)} taken ({best.codec}, {best.width}x{best.height})"


def _probe(answer: dict[str, Any], path: Path) -> Probe:
    """Validate the answer of a child, which an untrusted file may have influenced."""
    try:
        streams = tuple(_stream(found) for found in answer["streams"])
        video, note = main_stream(streams)
        if video is None:
            raise ClipError("no video stream", where=path)
        seconds = _finite(answer["seconds"])
        fault, scanned = str(answer["fault"])[:80], bool(answer["scanned"])
        container, start = str(answer["container"]), _finite(answer["start"]) or 0.0
    except (KeyError, TypeError, ValueError) as error:
        raise ChildError("the reader of its header failed", where=path) from error
    return Probe(container, seconds, start, streams, scanned, fault, video, note)


def _stream(found: dict[str, Any]) -> Stream:
    rates = tuple(Fraction(int(over), int(under)) for over, under in found.get("rates", ()) if under and over > 0)
    return Stream(
        index=int(found["index"]),
        kind=str(found["kind"]),
        codec=str(found["codec"]),
        cover=bool(found["cover"]),
        default=bool(found["default"]),
        tick=float(found["tick"]),
        seconds=_clock(str(found["tag"])) or _finite(found["seconds"]),
        frames=int(found["frames"]),
        width=int(found.get("width", 0)),
        height=int(found.get("height", 0)),
        rates=rates,
        packets=int(found["packets"]),
        shown=int(found["shown"]),
        corrupt=int(found["corrupt"]),
        end=_finite(found["end"]),
    )


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _clock(text: str) -> float | None:
    """Parse Matroska's tag `00:00:02.400000000` to seconds."""
    parts = text.split(":")
    try:
        hours, minutes, seconds = map(float, parts)
    except ValueError:
        return None
    return _finite(hours * 3600 + minutes * 60 + seconds)


def _reason(error: str, path: Path) -> str:
    """Describe why a file cannot be opened."""
    if error in _REASONS:
        return _REASONS[error]
    if error.startswith("cannot"):
        return error
    with suppress(OSError), path.open("rb") as file:
        if file.read(8)[4:] in _MOV_BOXES:
            return _NO_INDEX
    return _NOT_VIDEO


class _Reader:
    """A child process that reads containers, one at a time."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", str(_PROGRAM)]
        try:
            self.process = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise ToolError(f"cannot be started: {error}", where=command[0]) from error
        self.owner = os.getpid()
        self._end = weakref.finalize(self, _end, self.process, self.owner)
        if hasattr(resource, "prlimit"):
            with suppress(OSError):
                resource.prlimit(self.process.pid, resource.RLIMIT_AS, (_MEMORY, _MEMORY))
                resource.prlimit(self.process.pid, resource.RLIMIT_CORE, (0, 0))
                resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (0, 0))

    @property
    def usable(self) -> bool:
        return self._end.alive and self.owner == os.getpid() and self.process.poll() is None

    def ask(self, request: dict[str, Any], path: Path) -> dict[str, Any]:
        """Return the answer to a request; any error ends the child.

        Raises:
            ChildError: there was no answer.
        """
        assert self.process.stdin is not None
        try:
            self._grant()
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            answer = json.loads(self._line(path))
            if not isinstance(answer, dict):
                raise ChildError("the reader of its header failed", where=path)
            return answer
        except (OSError, ValueError) as error:
            self._end()
            raise ChildError("the reader of its header died", where=path) from error
        except BaseException:
            self._end()
            raise

    def _grant(self) -> None:
        """Grant processor time for one more file."""
        used = cpu_seconds(self.process.pid)
        if used is None or not hasattr(resource, "prlimit"):
            return
        hard = resource.prlimit(self.process.pid, resource.RLIMIT_CPU)[1]
        resource.prlimit(self.process.pid, resource.RLIMIT_CPU, (int(used) + _CPU, hard))

    def _line(self, path: Path) -> bytes:
        assert self.process.stdout is not None
        line = bytearray()
        used, moved = cpu_seconds(self.process.pid), time.monotonic()
        while not line.endswith(b"\n"):
            if select.select([self.process.stdout], [], [], _POLL)[0]:
                data = os.read(self.process.stdout.fileno(), 1 << 16)
                if not data:
                    raise ChildError("the reader of its header died", where=path)
                line += data
                if len(line) > _ANSWER:
                    raise ChildError("its header has too many streams", where=path)
            now = cpu_seconds(self.process.pid)
            if now != used:
                used, moved = now, time.monotonic()
            elif time.monotonic() - moved > _IDLE:
                raise ChildError(f"reading its header timed out: no progress for {_IDLE:g} s", where=path)
        return bytes(line)


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    """End a child; a forked copy of its owner only closes inherited descriptors."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    if owner == os.getpid():
        process.kill()
        process.wait()


_here = threading.local()


def _reader() -> _Reader:
    """Return this thread's child."""
    reader: _Reader | None = getattr(_here, "reader", None)
    if reader is None or not reader.usable:
        reader = _here.reader = _Reader()
    return reader
