"""Numbers with nouns and verbs that agree with them, and numbers of bytes."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return `1 clip`, `2 clips`; `plural` where it is not the noun with an s."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def agree(number: int, one: str, more: str) -> str:
    """Return the form of a word that agrees with `number`."""
    return one if number == 1 else more


def size_text(count: float) -> str:
    """Format a number of bytes."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count:.0f} bytes"
