"""ffmpeg's error lines, told by the level that it prints before each."""

from __future__ import annotations

import re

_COMPLAINT = re.compile(r"^(?:\[[^\]]* @ \w+\] ?)*\[(?:error|fatal|panic)\] (.*)", re.MULTILINE)


def complaints(log: str) -> list[str]:
    """ffmpeg's error lines, without its prefixes, each once."""
    return list(dict.fromkeys(line.strip() for line in _COMPLAINT.findall(log)))
