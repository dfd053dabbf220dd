"""How a run is asked to stop."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from tdpn_core.errors import Interrupted, Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C; what ends a service; what Slurm sends ahead of a time limit (`--signal=USR1@120`) or a pre-emption."""


_PROMISE = b"\rstopping: saves once this step or validation is done; Ctrl-C again stops at once, unsaved\r\n"


class StopRequest:
    """Whether someone asked this process to stop, and with which signal."""

    signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextmanager
def stop_before_training() -> Iterator[None]:
    """Inside, where a run is prepared and nothing can be saved, a signal of `SIGNALS` raises an error.

    Raises:
        Stopped: SIGTERM or SIGUSR1 came.
        Interrupted: SIGINT came.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        kind = Interrupted if number == signal.SIGINT else Stopped
        name = signal.Signals(number).name
        raise kind(f"stopped by {name} before training began: nothing was saved", hint="run the same command again")

    with _handled_by(leave):
        yield


@contextmanager
def stop_requests(*, tell: bool = False) -> Iterator[StopRequest]:
    """Inside, `SIGNALS` only set the yielded flag; a second SIGINT interrupts at once. On a terminal, `tell` says so.

    Outside the main thread, where no handler can be set, the flag just stays unset.
    """
    request = StopRequest()

    def remember(number: int, frame: FrameType | None) -> None:
        if request and number == signal.SIGINT:
            raise KeyboardInterrupt
        if number == signal.SIGINT and tell and sys.stderr.isatty():
            os.write(2, _PROMISE)  # a print could be under way
        request.signal = number

    with _handled_by(remember):
        yield request


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    previous = {}
    try:
        for number in SIGNALS:
            previous[number] = signal.signal(number, handler)
    except ValueError:  # not the main thread
        pass
    try:
        yield
    finally:
        for number, earlier in previous.items():
            signal.signal(number, earlier)
