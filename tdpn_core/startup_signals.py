"""Handle signals while a command starts: imports take seconds, and there is nothing to save yet.

This module imports nothing heavy, so that its handlers are installed first.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any

_CODES = {signal.SIGINT: 130, signal.SIGTERM: 3, signal.SIGUSR1: 3}

_previous: dict[int, Any] = {}


def begin() -> None:
    """Until `end`, a stop signal ends the process with one line and the documented exit code.

    The handler exits at once and raises nothing, since an exception during an import may be swallowed. A process
    started by a launcher keeps the default handling, from which the launcher learns what happened.
    """
    if _previous or "WORLD_SIZE" in os.environ:
        return
    for number in _CODES:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):  # `nohup` and shells ignore some permanently
            _previous[number] = signal.signal(number, _leave)


def end() -> None:
    """Restore the previous handling before the command's own work starts."""
    for number, handler in _previous.items():
        signal.signal(number, handler)
    _previous.clear()


def _leave(number: int, frame: FrameType | None) -> None:
    name = signal.Signals(number).name
    word = "interrupted" if number == signal.SIGINT else f"stopped by {name}"
    os.write(2, f"{word} before the work began: nothing was saved\n".encode())
    os._exit(_CODES[signal.Signals(number)])
