"""Extract ffmpeg's error lines by the log level that it prints before each."""

from __future__ import annotations

import re

_COMPLAINT = re.compile(r"^(?:\[[^\]]* @ \w+\] ?)*\[(?:error|fatal|panic)\] (.*)", re.MULTILINE)


def complaints(log: str) -> list[str]:
    """Return ffmpeg's distinct error lines without its prefixes."""
    return list(dict.fromkeys(line.strip() for line in _COMPLAINT.findall(log)))
