"""Labelled parts of videos, as annotation tools and time-annotated lists give them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Segment:
    """One action in a video.

    `start` and `stop` are seconds from the video's first frame; `video` is its path or name as the annotations spell
    it; `line` is the line of a text file, or the entry's position in JSON or XML, both from 1, 0 if made by a network.
    """

    video: str
    start: float
    stop: float
    label: str
    line: int = 0

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.stop - self.start
