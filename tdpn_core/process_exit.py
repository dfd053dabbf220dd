"""How a command's process ends. Imported before all else: what is registered first at exit runs last.

Threads and exit handlers come to their end and output is written, but the interpreter is not torn down, like
`multiprocessing`'s processes: collecting garbage and PyTorch's C++ destructors would take a second, and the traceback
of a distributed error may hold the collectives' C++ threads, which abort a process that is torn down.
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn

_final_code: int | None = None  # of a process that is not torn down


def leave(code: int) -> NoReturn:
    """End this process with the exit code `code`: the one place where a command's process ends.

    The exit code is 1 in place of 0 if the last of the output cannot be written, except to a reader that is gone.
    """
    global _final_code
    _final_code = code
    sys.exit(code)


def is_one_of_several() -> bool:
    """Whether a launcher started this process among others."""
    return "WORLD_SIZE" in os.environ or "SLURM_STEP_ID" in os.environ


@atexit.register
def _end() -> None:
    if _final_code is None:
        return
    code = _final_code
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (BrokenPipeError, ValueError):  # a reader that is gone, a closed stream
            continue
        except OSError as error:
            code = code or 1
            with suppress(OSError, ValueError):
                sys.stderr.write(f"error the output cannot be written: {error.strerror}\n")
    os._exit(code)
