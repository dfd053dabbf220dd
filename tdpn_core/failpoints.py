"""Named points where a test can make the program fail at an exact moment; inactive without the variable.

`TDPN_FAILPOINT=POINT[/FILE][#N][@RANK]:ACTION` fails at the N-th passing of POINT (default: the first), only for FILE
and in process RANK if given, in processes that were not restarted. An ACTION is `kill` (SIGKILL),
`stop` (SIGTERM), `interrupt` (SIGINT), `hang`, `exit` (code 0), or the name of an `errno`: `ENOSPC`, `EIO`, `EACCES`.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import time
from typing import NoReturn

VARIABLE = "TDPN_FAILPOINT"

POINTS = ("write.open", "write.sync", "write.rename", "write.end", "train.batch", "train.step", "train.validate")
"""In `files.atomic_path`: before the content, before flushing, before and after the rename. In the training loop:
before requesting a batch, before its step, before validation."""

_FORM = re.compile(r"([\w.]+)(?:/([^#@:]+))?(?:#(\d+))?(?:@(\d+))?:(\w+)")
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGTERM, "interrupt": signal.SIGINT}
_passed: dict[str, int] = {}


def failpoint(point: str, file: str = "") -> None:
    """Pass `point`, and fail there if the environment requests it."""
    text = os.environ.get(VARIABLE)
    if text is None:
        return
    match = _FORM.fullmatch(text)
    assert match is not None, f"{VARIABLE}={text} is not {__doc__}"
    assert match[1] in POINTS, f"no failpoint {match[1]}"
    restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    rank = os.environ.get("RANK", "0")
    if restarted or match[1] != point or (match[2] or file) != file or (match[4] or rank) != rank:
        return
    _passed[text] = _passed.get(text, 0) + 1
    if _passed[text] == int(match[3] or 1):
        _fail(match[5])


def _fail(action: str) -> None:
    if action in _SIGNALS:
        os.kill(os.getpid(), _SIGNALS[action])
    elif action == "hang":
        _hang()
    elif action == "exit":
        os._exit(0)
    else:
        number = getattr(errno, action)
        raise OSError(number, os.strerror(number))


def _hang() -> NoReturn:
    while True:
        time.sleep(1)
