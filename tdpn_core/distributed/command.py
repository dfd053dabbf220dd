"""One command as the ranks of a run: started once for each of them, and how one of them reports its error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from tdpn_core import startup_signals
from tdpn_core.distributed.environment import launch_environment
from tdpn_core.errors import UsageError


def device_of(gpus: int | None, processes: int | None) -> int | None:
    """The number of GPUs that `--gpus` and `--processes` ask for: 0 where processes on the CPU are asked for.

    Raises:
        UsageError: both are asked for.
    """
    if processes is None:
        return gpus
    if gpus:
        raise UsageError("is for the CPU", where="--processes", hint="--gpus N starts N processes, one for each GPU")
    return 0


def run_in_processes(
    *,
    gpus: int | None,
    processes: int | None,
    nodes: int = 1,
    rendezvous: str | None = None,
    restarts: int = 0,
    say: Callable[[str], None],
) -> bool:
    """Run this process's own command in several processes, and wait for them; whether that was done.

    It is not done where one process is enough, or where this process is one of several already.

    Raises:
        UsageError: GPUs and processes on the CPU are asked for.
        DeviceError: more GPUs than this machine has.
        TdpnError: whatever ended the run, see `launch_ranks`.
    """
    if (processes or 1) * max(gpus or 1, 1) * nodes == 1:
        return False
    if "WORLD_SIZE" in os.environ or launch_environment() is not None:
        return False
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # before torch: a failure is reported once, by us
    from tdpn_core.distributed.runtime import check_gpus

    here = processes or max(1, check_gpus(device_of(gpus, processes)))
    if here * nodes == 1:
        return False
    from tdpn_core.distributed.launcher import launch_ranks

    startup_signals.end()
    command = [sys.executable, *sys.orig_argv[1:]]
    launch_ranks(command, processes=here, nodes=nodes, rendezvous=rendezvous, restarts=restarts, say=say)
    return True
