"""Timeouts for servers; a separate module, since reading local files does not need `requests`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from tdpn_core import defaults
from tdpn_core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class FetchLimits:
    """Timeouts and retries for a server.

    A file makes progress while at least `slowest` bytes per second arrive, averaged over `idle` seconds. A stream makes
    progress with each decoded frame.
    """

    idle: float = 60.0
    """Seconds without progress after which a connection is closed. A file is requested again; a stream ends."""

    total: float | None = None
    """Seconds for one file including retries and pauses, or for waiting for the parts of a finite playlist; None: no
    limit. For a live stream, only the delay allowed beyond `stop`."""

    slowest: int = 1000
    """Bytes per second of a file below which a connection makes no progress."""

    retries: int = 6
    """Number of consecutive failures without progress after which another request is made."""

    pause: float = 1.0
    """Seconds before another request, doubled after each failure up to a minute."""

    def __post_init__(self) -> None:
        for name, value in (("idle", self.idle), ("total", self.total)):
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"the {name} limit of a server must be a positive number of seconds, not {value:g}")


FOR_VIDEOS = FetchLimits(idle=defaults.IDLE_SECONDS, total=defaults.FETCH_SECONDS, retries=1)
"""For a video that a user waits for."""


def longer(limit: Literal["idle", "total"]) -> str:
    """Return the hint for an exceeded limit of a video."""
    return f"wait longer with {'--idle-timeout' if limit == 'idle' else '--fetch-timeout'}"
