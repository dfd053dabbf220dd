"""Where a clip comes from: a video file, or numbered pictures in a folder or an archive."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Source:
    """A clip as a data set stores it."""

    path: Path
    """A video file, a folder with the frames, or a tar archive with them."""

    kind: Literal["video", "frames", "tar"] = "video"

    pattern: str = ""
    """Name of the frames with their number in the manner of printf: `%05d.jpg`, `frame_%010d.jpg`."""

    first: int = -1
    """Number of the first frame, as in its name; -1: the first there is."""

    last: int = -1
    """Number of the last frame, inclusive; -1: the last there is."""

    numbers: tuple[int, ...] = ()
    """Exactly these frames by number, in this order; empty: every one from `first` to `last`."""

    fps: float = math.nan
    """Frames a second of numbered frames, where it is known."""

    start: float = math.nan
    """First second of the part of a video to take, to the container's clock; NaN: from its start."""

    stop: float = math.nan
    """End of the part, exclusive; NaN: to its end."""

    def __post_init__(self) -> None:
        if self.kind != "video":
            parts_of(self.pattern)

    @property
    def whole(self) -> bool:
        """All of the video is wanted."""
        return math.isnan(self.start) and math.isnan(self.stop)


_PATTERN = re.compile(r"((?:[^%/]|%%)*)%(?:0\d{1,2})?d((?:[^%/]|%%)*)")
_NUMBERED = re.compile(r"(.*?)(\d+)(\.\w+)", re.DOTALL)


def parts_of(pattern: str) -> tuple[str, str]:
    """The text before and after the number in the names that `pattern` makes; %% in it is a percent sign.

    Raises:
        ValueError: it is no such pattern.
    """
    match = _PATTERN.fullmatch(pattern)
    if match is None:
        what = f"names of frames hold one number, as in %05d.jpg, and no folder, unlike {pattern!r}"
        raise ValueError(what)
    before, behind = (part.replace("%%", "%") for part in match.groups())
    return before, behind


def pattern_of(names: Sequence[str]) -> tuple[str, tuple[int, ...]]:
    """The pattern that makes exactly these file names, and their numbers, ascending.

    Raises:
        ValueError: no one pattern makes them all, as with `1.png` and `02.png`.
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
