"""How a run is asked to stop."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C; what ends a service; what Slurm sends ahead of a time limit (`--signal=USR1@120`) or a pre-emption."""


_PROMISE = b"\rstopping: saves once this step or validation is done; Ctrl-C again stops at once, unsaved\r\n"


class StopRequest:
    """Whether someone asked this process to stop, and with which signal."""

    signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


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

    previous = {}
    try:
        for number in SIGNALS:
            previous[number] = signal.signal(number, remember)
    except ValueError:  # not the main thread
        pass
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
