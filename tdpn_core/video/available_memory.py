"""Memory available on this machine, or in the control group of this process."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

_GROUPS = (  # memory limit and usage of a container, in both versions of control groups
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available_memory() -> int | None:
    """Return the bytes available without swapping; None if unknown."""
    found = []
    with suppress(OSError):
        stated = re.search(r"^MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
        found += [int(stated[1]) * 1024] if stated else []
    for limit, used in _GROUPS:
        with suppress(OSError, ValueError):
            found.append(max(int(Path(limit).read_text()) - int(Path(used).read_text()), 0))
    return min(found, default=None)
