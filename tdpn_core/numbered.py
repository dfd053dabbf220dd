"""Names of numbered pictures, as a pattern in the manner of printf: `%05d.jpg`, `frame_%010d.jpg`."""

from __future__ import annotations

import re

_PATTERN = re.compile(r"((?:[^%/]|%%)*)%(?:0\d{1,2})?d((?:[^%/]|%%)*)")


def parts_of(pattern: str) -> tuple[str, str]:
    """What stands before and behind the number in the names that `pattern` makes; %% in it is a percent sign.

    Raises:
        ValueError: it is no such pattern.
    """
    match = _PATTERN.fullmatch(pattern)
    if match is None:
        what = f"names of frames hold one number, as in %05d.jpg, and no folder, unlike {pattern!r}"
        raise ValueError(what)
    before, behind = (part.replace("%%", "%") for part in match.groups())
    return before, behind
