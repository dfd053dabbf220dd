"""Parse times as people and tools write them."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"\d+(?:[.,]\d*)?|[.,]\d+")
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d{1,2}(?:[.,]\d*)?)")


def parse_seconds(text: str) -> float | None:
    """Return the seconds of `12.5`, `12,5`, `12.5s`, `mm:ss.f` or `h:mm:ss.f`; None if it is not a time."""
    plain = text.strip()
    sign = -1.0 if plain.startswith("-") else 1.0
    plain = plain.removeprefix("-").removesuffix("s").strip()
    if _NUMBER.fullmatch(plain):
        return sign * float(plain.replace(",", "."))
    match = _CLOCK.fullmatch(plain)
    if not match:
        return None
    hours, minutes, seconds = int(match[1] or 0), int(match[2]), float(match[3].replace(",", "."))
    if seconds >= 60 or (match[1] and minutes >= 60):
        return None
    return sign * (hours * 3600 + minutes * 60 + seconds)


def parse_frame(text: str) -> int | None:
    """Return the frame number of `120` or `120.0`; None if it is not a whole number."""
    match = re.fullmatch(r"(-?\d+)(?:[.,]0*)?", text.strip())
    return int(match[1]) if match else None
