"""Determine this process's rank from the environment that its launcher set."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping

from tdpn_core.errors import UsageError

LAUNCHER = "TDPN_LAUNCHER"
"""The process id of our own launcher, in the environment of processes that it started."""

_FIRST_PORT, _PORTS = 20000, 10000
"""Ports of Slurm jobs that do not set one, derived from the job's number."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LaunchEnvironment:
    """One process among those that its launcher started."""

    rank: int
    world: int
    local_rank: int
    """Index among the processes of this machine, and of its GPU."""

    local_world: int
    host: str
    """Address of the machine of rank 0, or of the launcher that serves the store."""

    port: int
    agent_store: bool = False
    """Whether the launcher serves the store, so that rank 0 does not."""


def launch_environment(environment: Mapping[str, str] = os.environ) -> LaunchEnvironment | None:
    """Return the place that torch's launcher (`torchrun`, or our own) or Slurm's `srun` assigned; None if alone.

    Raises:
        UsageError: the environment is incomplete.
    """
    if "WORLD_SIZE" in environment:
        return _of_torch(environment)
    if "SLURM_STEP_ID" in environment and int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return _of_slurm(environment)
    return None


def has_launcher(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether our own launcher started this process, and reports for it."""
    return LAUNCHER in environment


def restarts(environment: Mapping[str, str] = os.environ) -> int:
    """Return how often torch's launcher restarted this process, or Slurm requeued its job."""
    return max(int(environment.get(name, "0")) for name in ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"))


def _of_torch(environment: Mapping[str, str]) -> LaunchEnvironment | None:
    world = _number(environment, "WORLD_SIZE")
    if world == 1:
        return None
    return LaunchEnvironment(
        rank=_number(environment, "RANK"),
        world=world,
        local_rank=_number(environment, "LOCAL_RANK"),
        local_world=int(environment.get("LOCAL_WORLD_SIZE", world)),
        host=_text(environment, "MASTER_ADDR"),
        port=_number(environment, "MASTER_PORT"),
        agent_store=environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
    )


def _of_slurm(environment: Mapping[str, str]) -> LaunchEnvironment:
    world, nodes = _number(environment, "SLURM_STEP_NUM_TASKS"), int(environment.get("SLURM_STEP_NUM_NODES", "1"))
    job = _number(environment, "SLURM_JOB_ID")
    host = environment.get("MASTER_ADDR") or first_host(_text(environment, "SLURM_STEP_NODELIST"))
    return LaunchEnvironment(
        rank=_number(environment, "SLURM_PROCID"),
        world=world,
        local_rank=_number(environment, "SLURM_LOCALID"),
        local_world=-(-world // nodes),
        host=host,
        port=int(environment.get("MASTER_PORT", _FIRST_PORT + job % _PORTS)),
    )


def first_host(nodes: str) -> str:
    """Return the first host in Slurm's short notation: `gpu[07-09,12],cpu1` begins with `gpu07`."""
    match = re.match(r"([^,\[]+)(?:\[(\w+))?([^,\]-]*)", nodes)
    if match is None:
        raise UsageError(f"no host in {nodes!r}", where="SLURM_STEP_NODELIST", hint="set MASTER_ADDR")
    return match[1] + (match[2] or "")


def _number(environment: Mapping[str, str], name: str) -> int:
    text = _text(environment, name)
    if not text.isdecimal():
        raise UsageError(f"{text!r} is not a number", where=name)
    return int(text)


def _text(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        what = "this process was started as one of several, but its environment does not contain its rank"
        raise UsageError(what, where=name, hint="start it with torchrun, srun, or tdpn's own --gpus")
    return environment[name]
