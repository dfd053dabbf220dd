"""Commands that run in several processes: each is this very command, started by torch's launcher."""

from __future__ import annotations

import os

from tdpn_cli import output
from tdpn_core.distributed.command import run_in_processes
from tdpn_core.process_exit import is_one_of_several


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
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0" or not is_one_of_several()
