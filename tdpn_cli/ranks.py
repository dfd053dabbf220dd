"""Commands that run in several processes: each is this very command, started by torch's launcher."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

from tdpn_cli import options, output
from tdpn_core import startup_signals as starting
from tdpn_core.errors import UsageError

Processes = Annotated[
    int | None,
    typer.Option(
        "--processes",
        help="Number of processes on the CPU.",
        min=1,
        show_default=False,
        rich_help_panel=options.DISTRIBUTED,
    ),
]
Nodes = Annotated[int, typer.Option("--nodes", help="Number of machines.", min=1, rich_help_panel=options.DISTRIBUTED)]
Rendezvous = Annotated[
    str | None,
    typer.Option(
        "--rdzv",
        help="Rendezvous of the machines: HOST:PORT of one of them.",
        show_default=False,
        rich_help_panel=options.DISTRIBUTED,
    ),
]
Restarts = Annotated[
    int,
    typer.Option(
        "--max-restarts",
        help="Restarts from the last checkpoint after a process died.",
        min=0,
        rich_help_panel=options.DISTRIBUTED,
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        help="Seconds without progress after which a hung process is ended.",
        min=1,
        rich_help_panel=options.DISTRIBUTED,
    ),
]


def device(gpus: int | None, processes: int | None) -> int | None:
    """What `--gpus` comes to: 0 where processes on the CPU are asked for.

    Raises:
        UsageError: both are.
    """
    if processes is None:
        return gpus
    if gpus:
        raise UsageError("is for the CPU", where="--processes", hint="--gpus N starts N processes, one for each GPU")
    return 0


def run_in_ranks(
    gpus: int | None, processes: int | None, *, nodes: int = 1, rendezvous: str | None = None, restarts: int = 0
) -> bool:
    """Run this command in several processes if it is to, and wait for them; whether that was done.

    It was not where one process is enough, or where this is one of several already.

    Raises:
        DeviceError: more GPUs than this machine has.
        TdpnError: whatever ended the run, see `launch_ranks`.
    """
    if (processes or 1) * max(gpus or 1, 1) * nodes == 1:
        return False
    from tdpn_core.distributed.environment import find_place

    if "WORLD_SIZE" in os.environ or find_place() is not None:
        return False
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # before torch: what fails is told once, by us
    from tdpn_core.distributed.runtime import check_gpus

    here = processes or max(1, check_gpus(device(gpus, processes)))
    if here * nodes == 1:
        return False
    from tdpn_core.distributed.launcher import launch_ranks

    starting.end()
    command = [sys.executable, *sys.orig_argv[1:]]
    launch_ranks(command, processes=here, nodes=nodes, rendezvous=rendezvous, restarts=restarts, say=output.say)
    return True


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
