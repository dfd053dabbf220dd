"""Where a clip comes from: a video file, or numbered pictures in a folder or an archive."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tdpn_core.frame_names import parts_of


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
