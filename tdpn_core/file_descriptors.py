"""Limit of open files of this process: raised as far as allowed, or refused before anything fails."""

from __future__ import annotations

import resource
from pathlib import Path

from tdpn_core.errors import TdpnError

RESERVE = 24
"""Descriptors reserved for shards, checkpoints, curves and libraries."""


def ensure_descriptors(workers: int) -> None:
    """Make sure that a command can start `workers` loader workers; raises the soft limit if necessary.

    Raises:
        TdpnError: the hard limit is too low.
    """
    needed = _open_now() + 4 * workers + RESERVE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard == resource.RLIM_INFINITY or hard >= needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else needed, hard))
        return
    fewer = " or use fewer --workers" if workers > 1 else ""
    raise TdpnError(
        f"this process may open {hard} files at a time, but needs {needed}",
        where="ulimit -n",
        hint=f"raise the limit (`ulimit -n 1024`){fewer}",
    )


def _open_now() -> int:
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:  # no /proc, or no descriptor left for listing it
        return RESERVE
