"""Commands that run in several processes: each is this very command, started by torch's launcher."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from contextlib import suppress
from typing import NoReturn

from tdpn_cli import output
from tdpn_core.distributed.command import run_in_processes


def run_in_ranks(
    gpus: int | None, processes: int | None, *, nodes: int = 1, rendezvous: str | None = None, restarts: int = 0
) -> bool:
    """Run this command in several processes if it is to, and wait for them; whether that was done.

    Raises:
        DeviceError: more GPUs than this machine has.
        TdpnError: whatever ended the run.
    """
    return run_in_processes(
        gpus=gpus, processes=processes, nodes=nodes, rendezvous=rendezvous, restarts=restarts, say=output.say
    )


def is_first() -> bool:
    """Whether this process is the one of its command that prints results."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0" or not _several()


def leave(code: int) -> NoReturn:
    """End this process with the exit code `code`: the one place where a command's process ends.

    One of several ends like `multiprocessing`'s own: threads, exit handlers and output come to their end, but nothing
    is torn down. An error's traceback may hold the collectives' C++ threads, and those abort a process that is.
    """
    if not _several():
        sys.exit(code)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a reader that is gone
            stream.flush()
    os._exit(code)


def _several() -> bool:
    return "WORLD_SIZE" in os.environ or "SLURM_STEP_ID" in os.environ
