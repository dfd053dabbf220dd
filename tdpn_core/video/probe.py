"""What a video file holds, as libav reports it: streams, sizes, rates, lengths, packets.

Foreign files are opened in a child process only, limited in memory, processor time and formats. Each thread has a
child of its own, which serves one file after another and is started again when it died or was killed.
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
_CPU = 600  # seconds of processor time for one file: a scan of some hundred gigabytes
_IDLE = 120.0  # seconds in which neither an answer comes nor processor time is used
_POLL = 5.0
_ANSWER = 8 << 20  # bytes
_MOV_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")

_NOT_VIDEO = "not a video: no known container or damaged header"
_NO_INDEX = "truncated: the file's index is missing or cut"
_REASONS = {
    "FileNotFoundError": "no such file",
    "PermissionError": "no permission to read it",
    "ArgumentError": "not a video container that is read here",
    "MemoryError": "its header asks for too much memory",
}


@dataclass(frozen=True)
class Stream:
    """One stream of a container."""

    index: int
    kind: str
    """video, audio, subtitle, data or attachment."""

    codec: str
    cover: bool
    """A cover picture or thumbnails, no film."""

    default: bool
    """The container marks it as the one to play."""

    tick: float
    """Seconds of one step of its time stamps."""

    seconds: float | None
    """Length by the container's own account of this stream; None: not stated."""

    frames: int
    """By the container's index or header; 0: not stated."""

    width: int
    height: int
    """In pixels, before any rotation."""

    rates: tuple[Fraction, ...]
    """Frames a second: the average, and the lowest that all time stamps fit."""

    packets: int
    """Counted; 0 without a scan."""

    shown: int
    """Of them, those that an edit list does not hide."""

    corrupt: int
    """Of them, those that end early."""

    end: float | None
    """Seconds at which its last packet ends."""


@dataclass(frozen=True)
class Probe:
    """What a container holds."""

    container: str
    """ffmpeg's name of the format."""

    seconds: float | None
    start: float
    """Seconds: length by the header, and the first time stamp of all streams."""

    streams: tuple[Stream, ...]
    scanned: bool
    """All packets were read, so `packets`, `shown`, `corrupt` and `end` of the streams are known."""

    fault: str
    """The error at which reading the packets broke off; empty: none."""

    video: Stream
    """The stream to take: see `main_stream`."""

    note: str | None
    """Which stream was taken, where there are several."""

    @property
    def end(self) -> float:
        """Seconds at which the last packet of any stream ends."""
        return max((stream.end for stream in self.streams if stream.end is not None), default=0.0)

    @property
    def corrupt(self) -> bool:
        """Some packet ends early, or reading broke off: the file is cut or damaged."""
        return bool(self.fault) or any(stream.corrupt for stream in self.streams)

    @property
    def expected_frames(self) -> int:
        """Frames of the video stream: counted, else stated, else length times rate; 0: unknown."""
        seconds = self.video.seconds or self.seconds or 0.0
        rate = float(self.video.rates[0]) if self.video.rates else 0.0
        return self.video.shown or self.video.frames or round(seconds * rate)


def probe(path: Path, *, scan: bool = False, max_pixels: int | None = None) -> Probe:
    """Read a file's header; with `scan`, also every packet, which costs about as much as copying the file.

    Args:
        path: a regular file.
        scan: count packets.
        max_pixels: a larger picture is refused; None: the default of `Encoding`.

    Raises:
        ChildError: the reader died, hung, or used too much memory or processor time.
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
    """The video stream to take, and a note where there was a choice.

    Cover pictures are no choice, nor are streams of one packet where another has more. Of the others: the one marked
    as default, then the largest picture, then the first.
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
    """The answer of a child that a file may have misled, checked."""
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
    """Seconds of Matroska's tag `00:00:02.400000000`."""
    parts = text.split(":")
    try:
        hours, minutes, seconds = map(float, parts)
    except ValueError:
        return None
    return _finite(hours * 3600 + minutes * 60 + seconds)


def _reason(error: str, path: Path) -> str:
    """Why a file cannot be opened, in a few words."""
    if error in _REASONS:
        return _REASONS[error]
    if error.startswith("cannot"):
        return error
    with suppress(OSError), path.open("rb") as file:
        if file.read(8)[4:] in _MOV_BOXES:
            return _NO_INDEX
    return _NOT_VIDEO


class _Reader:
    """A child that reads containers, one at a time."""

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
        """The answer to a request; whatever goes wrong ends the child.

        Raises:
            ChildError: none came.
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
        """Processor time for one more file."""
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
    """End a child; a fork of its owner only closes what it inherited."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    if owner == os.getpid():
        process.kill()
        process.wait()


_here = threading.local()


def _reader() -> _Reader:
    """This thread's child."""
    reader: _Reader | None = getattr(_here, "reader", None)
    if reader is None or not reader.usable:
        reader = _here.reader = _Reader()
    return reader
