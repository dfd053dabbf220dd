"""Windows over a stream that does not wait: the newest one is scored, and what came meanwhile is passed over."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from tdpn_core.config import RunConfig
from tdpn_core.errors import TdpnError
from tdpn_core.predict.windows import Window, Windowing, measured_rate, window_of
from tdpn_core.video.stream import StreamedFrame

_FIRST = 32  # frames after which the rate is known


def latest(frames: Iterator[StreamedFrame], windowing: Windowing, config: RunConfig) -> Iterator[Window]:
    """The newest window whenever the last one has been dealt with, and at least a stride after it.

    Frames are read by a thread of their own, so that a slow network makes gaps between windows, not within them.
    """
    state = _State()
    reader = threading.Thread(target=state.read, args=(frames, windowing, config), daemon=True, name="live")
    reader.start()
    try:
        while (window := state.wait()) is not None:
            yield window
        if state.error is not None:
            raise state.error
    finally:
        state.closing = True


@dataclass
class _State:
    """What the reading thread has."""

    ready: threading.Condition = field(default_factory=threading.Condition)
    held: deque[StreamedFrame] = field(default_factory=deque)
    fps: float = 0.0
    stride: int = 1
    due: int = _FIRST
    """Frames to come before the next window."""

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

    def wait(self) -> Window | None:
        """The newest window, once it is due; None at the end of the stream."""
        with self.ready:
            self.ready.wait_for(lambda: self.ended or (self.fps and self.due <= 0))
            if not self.fps or self.due > 0:
                return None
            self.due = self.stride
            return window_of(list(self.held), self.fps)
