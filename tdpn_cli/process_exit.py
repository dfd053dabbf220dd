"""How a command's process ends. Imported before all else: what is registered first at exit runs last.

Threads and exit handlers come to their end and output is written, but cyclic garbage is not collected, which would take
a second for PyTorch's modules. One process of several is not torn down at all, like `multiprocessing`'s own: the
traceback of an error may hold the collectives' C++ threads, and those abort a process that is.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from contextlib import suppress
from typing import NoReturn

_final_code: int | None = None  # of a process that is not torn down


def leave(code: int) -> NoReturn:
    """End this process with the exit code `code`: the one place where a command's process ends."""
    global _final_code
    if is_one_of_several():
        _final_code = code
    gc.freeze()
    sys.exit(code)


def is_one_of_several() -> bool:
    """Whether a launcher started this process among others."""
    return "WORLD_SIZE" in os.environ or "SLURM_STEP_ID" in os.environ


@atexit.register
def _end() -> None:
    if _final_code is None:
        return
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a reader that is gone
            stream.flush()
    os._exit(_final_code)
