"""Offline mode, set by `--offline` or by the environment variable TDPN_OFFLINE."""

from __future__ import annotations

import os

VARIABLE = "TDPN_OFFLINE"
REASON = f"network access is disabled: --offline or {VARIABLE} is set"


def is_offline() -> bool:
    """Return whether network access is disabled."""
    return os.environ.get(VARIABLE, "").strip().lower() not in ("", "0", "false", "no")


def go_offline() -> None:
    """Disable network access in this process and its child processes."""
    os.environ[VARIABLE] = "1"
