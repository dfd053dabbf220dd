"""Requests to stop a run."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from tdpn_core.errors import Interrupted, Stopped
from tdpn_core.progress import Progress

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C; service managers; Slurm before a time limit (`--signal=USR1@120`) or pre-emption."""


_PROMISE = b"\rstopping: saves once this step or validation is done; Ctrl-C again stops at once, unsaved\r\n"


class StopRequest:
    """Whether this process was asked to stop, and by which signal."""

    signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextmanager
def stop_before_training() -> Iterator[None]:
    """Inside, a signal of `SIGNALS` raises an error; for use before there is anything to save.

    Raises:
        Stopped: received SIGTERM or SIGUSR1.
        Interrupted: received SIGINT.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        kind = Interrupted if number == signal.SIGINT else Stopped
        name = signal.Signals(number).name
        raise kind(f"stopped by {name} before training began: nothing was saved", hint="run the same command again")

    with _handled_by(leave):
        yield


@contextmanager
def stoppable(progress: Progress, *, note: str, command: str) -> Iterator[None]:
    """Inside, a signal of `SIGNALS` raises an error wherever the work is, so that it can end its children and save.

    Ctrl-C is acknowledged at once with `note`, since this may take seconds; a second one interrupts at once. `command`
    continues the work. Outside the main thread no handler can be set.

    Raises:
        Stopped: received SIGTERM or SIGUSR1.
        Interrupted: received SIGINT.
    """
    again = f"run the same {command} command again to continue"

    def leave(number: int, frame: FrameType | None) -> None:
        if number != signal.SIGINT:
            raise Stopped("stopped on request", hint=again)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        progress.say(f"stopping: {note}")
        raise Interrupted("interrupted", hint=again)

    with _handled_by(leave):
        yield


@contextmanager
def stop_requests(*, tell: bool = False) -> Iterator[StopRequest]:
    """Inside, `SIGNALS` only set the yielded flag; a second SIGINT interrupts at once. `tell` reports it on a terminal.

    Outside the main thread no handler can be set, and the flag remains unset.
    """
    request = StopRequest()

    def remember(number: int, frame: FrameType | None) -> None:
        if request and number == signal.SIGINT:
            raise KeyboardInterrupt
        if number == signal.SIGINT and tell and sys.stderr.isatty():
            os.write(2, _PROMISE)  # a print may be in progress
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
