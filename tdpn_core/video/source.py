"""Source of a clip: a video file, or numbered pictures in a folder or an archive."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tdpn_core.frame_names import parts_of


@dataclass(frozen=True, slots=True)
class Source:
    """A clip as stored in a data set."""

    path: Path
    """Video file, folder of frames, or tar archive of frames."""

    kind: Literal["video", "frames", "tar"] = "video"

    pattern: str = ""
    """printf-style name of the frames: `%05d.jpg`, `frame_%010d.jpg`."""

    first: int = -1
    """Number of the first frame, as in its name; -1 for the first that exists."""

    last: int = -1
    """Number of the last frame, inclusive, as in its name; -1 for the last that exists."""

    numbers: tuple[int, ...] = ()
    """Numbers of the frames, in this order; empty for all from `first` to `last`."""

    fps: float = math.nan
    """Frames per second of numbered frames, if known."""

    start: float = math.nan
    """Start of the clip in the video, in seconds on the container's clock; NaN for the video's start."""

    stop: float = math.nan
    """End of the clip, exclusive; NaN for the video's end."""

    def __post_init__(self) -> None:
        if self.kind != "video":
            parts_of(self.pattern)

    @property
    def whole(self) -> bool:
        """Whether the clip is the entire video."""
        return math.isnan(self.start) and math.isnan(self.stop)
