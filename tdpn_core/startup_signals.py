"""Signals that come while a command starts: importing what it needs takes seconds, and nothing is saved yet.

This module imports nothing heavy, so that its handlers are there first.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any

_CODES = {signal.SIGINT: 130, signal.SIGTERM: 3, signal.SIGUSR1: 3}

_previous: dict[int, Any] = {}


def begin() -> None:
    """From now on until `end`, a signal that asks to stop ends the process with one line and its documented code.

    The handler leaves at once and raises nothing: an exception in the middle of an import may be swallowed. A process
    that a launcher started among others keeps the system's handling, by which the launcher knows what happened.
    """
    if _previous or "WORLD_SIZE" in os.environ:
        return
    for number in _CODES:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):  # `nohup` and shells ignore some for good
            _previous[number] = signal.signal(number, _leave)


def end() -> None:
    """The command's own work begins: signals are handled as they were before."""
    for number, handler in _previous.items():
        signal.signal(number, handler)
    _previous.clear()


def _leave(number: int, frame: FrameType | None) -> None:
    name = signal.Signals(number).name
    word = "interrupted" if number == signal.SIGINT else f"stopped by {name}"
    os.write(2, f"{word} before the work began: nothing was saved\n".encode())
    os._exit(_CODES[signal.Signals(number)])
