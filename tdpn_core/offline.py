"""Whether programs may ask the network: `--offline`, or TDPN_OFFLINE in the environment, forbids it."""

from __future__ import annotations

import os

VARIABLE = "TDPN_OFFLINE"
REASON = f"the network is not asked: --offline, or {VARIABLE}, is set"


def is_offline() -> bool:
    """Whether the network must not be asked."""
    return os.environ.get(VARIABLE, "").strip().lower() not in ("", "0", "false", "no")


def go_offline() -> None:
    """Forbid it in this process and in those that it starts."""
    os.environ[VARIABLE] = "1"
