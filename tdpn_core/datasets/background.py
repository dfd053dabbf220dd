"""Which class means that nothing happens."""

from __future__ import annotations

from tdpn_core import defaults


def is_background(label: str) -> bool:
    """Return whether a class means that nothing happens: a gap in a timeline, not an answer."""
    return label == defaults.BACKGROUND
