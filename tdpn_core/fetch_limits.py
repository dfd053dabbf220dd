"""How long a server may take. It has a module of its own because reading local files does not need `requests`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from tdpn_core import defaults
from tdpn_core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class FetchLimits:
    """When to give up a server.

    A file makes progress while at least `slowest` bytes a second arrive, on average over `idle` seconds. A stream makes
    progress with each frame that can be decoded.
    """

    idle: float = 60.0
    """Seconds without progress after which a connection is given up. A file is requested again, a stream ends."""

    total: float | None = None
    """Seconds for one file with all retries and waits, or spent waiting for the parts of a playlist that has an end;
    None: no limit. A live stream has no end, so this limit applies to it only as the delay that `stop` may have."""

    slowest: int = 1000
    """Bytes a second of a file below which a connection makes no progress."""

    retries: int = 6
    """Failures in a row, without progress between them, that are followed by another request."""

    pause: float = 1.0
    """Seconds to wait before another request, doubled after each failure; at most a minute."""

    def __post_init__(self) -> None:
        for name, value in (("idle", self.idle), ("total", self.total)):
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"the {name} limit of a server is a positive number of seconds, not {value:g}")


FOR_VIDEOS = FetchLimits(idle=defaults.IDLE_SECONDS, total=defaults.FETCH_SECONDS, retries=1)
"""Of a video that somebody waits for."""


def longer(limit: Literal["idle", "total"]) -> str:
    """The hint of an error about a limit of videos."""
    return f"wait longer with {'--idle-timeout' if limit == 'idle' else '--fetch-timeout'}"
