"""Names of numbered pictures: printf patterns, and detecting the pattern of existing names."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PATTERN = re.compile(r"((?:[^%/]|%%)*)%(?:0\d{1,2})?d((?:[^%/]|%%)*)")
_NUMBERED = re.compile(r"(.*?)(\d+)(\.\w+)", re.DOTALL)


def parts_of(pattern: str) -> tuple[str, str]:
    """Return the text before and after the number in names of `pattern`, in which %% is a percent sign.

    Raises:
        ValueError: it is not such a pattern.
    """
    match = _PATTERN.fullmatch(pattern)
    if match is None:
        what = f"frame names must contain one number, as in %05d.jpg, and no folder, unlike {pattern!r}"
        raise ValueError(what)
    before, behind = (part.replace("%%", "%") for part in match.groups())
    return before, behind


def pattern_of(names: Sequence[str]) -> tuple[str, tuple[int, ...]]:
    """Return the pattern of exactly these file names, and their numbers in ascending order.

    Raises:
        ValueError: they do not have a common pattern, such as `1.png` and `02.png`.
    """
    found = [match for name in names if (match := _NUMBERED.fullmatch(name))]
    kinds = {(match[1], match[3]) for match in found}
    if len(found) < len(names) or len(kinds) != 1:
        what = f"{names[0]} and {names[-1]} are not numbered pictures of one series"
        raise ValueError(what)
    before, behind = (part.replace("%", "%%") for part in kinds.pop())
    width = min(len(match[2]) for match in found)
    pattern = f"{before}%d{behind}" if width == 1 else f"{before}%0{width}d{behind}"
    numbers = {int(match[2]): match.string for match in found}
    odd = [name for number, name in numbers.items() if pattern % number != name]
    if odd or len(numbers) < len(set(names)):
        what = f"numbers are written in several widths, as in {min(names, key=len)} and {max(names, key=len)}"
        raise ValueError(what)
    return pattern, tuple(sorted(numbers))
