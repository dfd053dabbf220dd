"""Windows that slide over a stream of frames, each used like a prepared clip."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, pairwise
from statistics import fmean, median
from typing import NamedTuple

from tdpn_core import defaults
from tdpn_core.config.schema import RunConfig
from tdpn_core.errors import TdpnError, UsageError
from tdpn_core.video.stream import StreamedFrame

_SECONDS = 4.0  # window length if a network samples from the entire clip: typical length of a single action
_RATE_FRAMES = 32  # number of frames from which the rate is measured
_ROUNDING = 0.1  # share of a step by which millisecond time stamps may differ


@dataclass(frozen=True, kw_only=True)
class Windowing:
    """Length and stride of windows."""

    seconds: float | None = None
    """Length of a window; None: the span of one clip of the network, or 4 s if it samples from the entire clip."""

    stride: float | None = None
    """Seconds between the starts of successive windows; None: half a window."""

    def __post_init__(self) -> None:
        for name, value in (("--window", self.seconds), ("--stride", self.stride)):
            if value is not None and not value > 0:
                raise UsageError(f"{name} must be a positive number of seconds, not {value:g}")
        if self.seconds is not None and self.stride is not None and self.stride > self.seconds:
            raise UsageError(f"--stride {self.stride:g} leaves gaps between windows of {self.seconds:g} s")

    def in_frames(self, config: RunConfig, fps: float) -> tuple[int, int]:
        """Return length and stride in frames for a video with `fps` frames per second."""
        if self.seconds is not None:
            length = max(1, round(self.seconds * fps))
        elif config.sampling.mode == "dense":
            length = (config.model.num_frames - 1) * config.sampling.interval + 1
        else:
            length = max(1, round(_SECONDS * fps))
        stride = max(1, round(self.stride * fps)) if self.stride is not None else max(1, length // 2)
        return length, min(stride, length)


def whole_windows(config: RunConfig, seconds: float | None) -> Windowing:
    """Return the windows for one prediction per clip: a single one if the network samples from the entire clip."""
    return Windowing(seconds=seconds) if config.sampling.mode == "segments" else Windowing()


class Window(NamedTuple):
    """Successive frames."""

    frames: Sequence[StreamedFrame]
    start: float
    """Time of the first frame in seconds."""

    end: float
    """End of the last frame in seconds."""

    @property
    def middle(self) -> float:
        """Its centre in seconds."""
        return (self.start + self.end) / 2


def slide(frames: Iterable[StreamedFrame], windowing: Windowing, config: RunConfig) -> Iterator[Window]:
    """Yield windows over a stream; the last one ends with it, and a short stream is one window."""
    stream = iter(frames)
    first = list(islice(stream, _RATE_FRAMES))
    fps = measured_rate([frame.seconds for frame in first])
    length, stride = windowing.in_frames(config, fps)
    held: deque[StreamedFrame] = deque(maxlen=length)
    since = 0  # frames since the last window
    due = length
    for frame in chain(first, stream):
        held.append(frame)
        since += 1
        if since == due:
            yield window_of(list(held), fps)
            since, due = 0, stride
    if since:
        yield window_of(list(held), fps)


def window_of(frames: Sequence[StreamedFrame], fps: float) -> Window:
    """Return a window of successive frames at `fps`."""
    return Window(frames, frames[0].seconds, frames[-1].seconds + 1 / fps)


def measured_rate(times: Sequence[float]) -> float:
    """Return frames per second from the typical interval of successive times: the mean of those near the median."""
    steps = [later - earlier for earlier, later in pairwise(times) if later > earlier]
    if not steps:
        return defaults.FRAME_RATE
    middle = median(steps)
    return 1 / fmean(step for step in steps if abs(step - middle) <= _ROUNDING * middle)


_FIRST = 32  # number of frames from which the rate is measured


def latest(frames: Iterator[StreamedFrame], windowing: Windowing, config: RunConfig) -> Iterator[Window]:
    """Yield the newest window whenever the previous one has been processed, and at least a stride later.

    A stream that ends or breaks off before its first window gives one window of the frames received.

    A separate thread reads frames, so that a slow network causes gaps between windows, not within them.
    """
    state = _State()
    reader = threading.Thread(target=state.read, args=(frames, windowing, config), daemon=True, name="live")
    reader.start()
    try:
        given = False
        while (window := state.wait()) is not None:
            yield window
            given = True
        if not given and state.held:
            yield state.rest(windowing, config)
        if state.error is not None:
            raise state.error
    finally:
        state.closing = True


@dataclass
class _State:
    """State of the reading thread."""

    ready: threading.Condition = field(default_factory=threading.Condition)
    held: deque[StreamedFrame] = field(default_factory=deque)
    fps: float = 0.0
    stride: int = 1
    due: int = _FIRST
    """Number of frames until the next window."""

    ended: bool = False
    closing: bool = False
    error: TdpnError | None = None

    def read(self, frames: Iterator[StreamedFrame], windowing: Windowing, config: RunConfig) -> None:
        try:
            for frame in frames:
                with self.ready:
                    self._take(frame, windowing, config)
                if self.closing:
                    break
        except TdpnError as error:
            self.error = error
        finally:
            with self.ready:
                self.ended = True
                self.ready.notify()

    def _take(self, frame: StreamedFrame, windowing: Windowing, config: RunConfig) -> None:
        self.held.append(frame)
        self.due -= 1
        if not self.fps and self.due <= 0:
            self.fps = measured_rate([held.seconds for held in self.held])
            length, self.stride = windowing.in_frames(config, self.fps)
            self.held = deque(self.held, maxlen=length)
            self.due = max(0, length - _FIRST)
        if self.due <= 0:
            self.ready.notify()

    def rest(self, windowing: Windowing, config: RunConfig) -> Window:
        """Return a window of the last frames after the end."""
        fps = self.fps or measured_rate([held.seconds for held in self.held])
        return window_of(list(self.held)[-windowing.in_frames(config, fps)[0] :], fps)

    def wait(self) -> Window | None:
        """Return the newest window when due; None at the end of the stream."""
        with self.ready:
            self.ready.wait_for(lambda: self.ended or (self.fps and self.due <= 0))
            if not self.fps or self.due > 0:
                return None
            self.due = self.stride
            return window_of(list(self.held), self.fps)
