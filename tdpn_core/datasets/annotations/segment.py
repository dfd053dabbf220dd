"""Labelled parts of videos, and what an annotation file contains."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from tdpn_core.datasets.annotation_io import fault, shorten
from tdpn_core.datasets.splits import split_of_folder
from tdpn_core.datasets.understanding import OddLine


@dataclass(frozen=True)
class Segment:
    """One action in a video.

    `start` and `stop` are seconds from the video's first frame; `video` is its path or name as the annotations spell
    it; `line` is the line of a text file, or the entry's position in JSON or XML, both from 1, 0 if made by a network.
    With `in_frames`, they are frame numbers from 0, `stop` being the first frame after the action: see `to_seconds`.
    """

    video: str
    start: float
    stop: float
    label: str
    line: int = 0
    in_frames: bool = False

    @property
    def duration(self) -> float:
        """Length, in seconds or frames."""
        return self.stop - self.start

    def to_seconds(self, rate: Fraction | float) -> Segment:
        """Return the segment in seconds; frame numbers are divided by the `rate` of the video in frames per second."""
        if not self.in_frames:
            return self
        return replace(self, start=float(self.start / rate), stop=float(self.stop / rate), in_frames=False)


EVERY = ""
"""In place of a video: any of the file's."""


@dataclass(frozen=True)
class ScoredSegment(Segment):
    """A segment with the network's confidence in it."""

    score: float = 1.0


@dataclass(frozen=True)
class Annotations:
    """Content of one annotation file."""

    path: Path
    layout: str
    """Format as text: `ELAN`."""

    segments: tuple[Segment, ...]
    videos: tuple[str, ...]
    """All videos that the file names, also those without a segment, in its order."""

    splits: dict[str, str] = field(default_factory=dict)
    """Split by video, where the file gives it."""

    columns: dict[str, str] = field(default_factory=dict)
    """Columns used, by role."""

    ignored: tuple[str, ...] = ()
    """Columns or parts that are not used."""

    odd: tuple[OddLine, ...] = ()
    """Entries left out, with the reason."""

    incomplete: frozenset[str] = frozenset()
    """Videos of which a segment could not be read; `EVERY` if that may be any video of the file."""

    notes: tuple[str, ...] = ()


class Collector:
    """Gathers the segments of a file; entries with impossible times are left out and named."""

    def __init__(self, path: Path, layout: str) -> None:
        self.path = path
        self.layout = layout
        self.columns: dict[str, str] = {}
        self.ignored: list[str] = []
        self.notes: list[str] = []
        self._segments: list[Segment] = []
        self._videos: dict[str, None] = {}
        self._splits: dict[str, str] = {}
        self._odd: list[OddLine] = []
        self._incomplete: set[str] = set()

    def video(self, name: str, line: int, split: str | None = None) -> None:
        """Record a video and, where given, its split.

        Raises:
            DatasetError: the split is unknown or differs from an earlier one of the video.
        """
        self._videos.setdefault(name)
        if split is None:
            return
        known = split_of_folder(split)
        if known is None:
            raise fault(self.path, line, "has an unknown split", split, "known splits: train, val, test")
        if self._splits.setdefault(name, known) != known:
            what = f"video {shorten(name)} is in {self._splits[name]} and here in"
            raise fault(self.path, line, what, known, "put all segments of a video into one split")

    def add(self, segment: Segment) -> None:
        """Add a segment, unless its times are impossible or it has no label."""
        reason = _fault_of(segment)
        if reason:
            unit = " frames" if segment.in_frames else " s"
            text = f"{segment.video} {segment.start:g} to {segment.stop:g}{unit}"
            self.odd(segment.line, reason, text, lacks=segment.video)
            self._videos.setdefault(segment.video)
        else:
            self._videos.setdefault(segment.video)
            self._segments.append(segment)

    def odd(self, line: int, reason: str, text: str, *, lacks: str | None = None) -> None:
        """Record an entry that is left out; `lacks` is the video, or `EVERY`, of which it may be a segment."""
        if lacks is not None:
            self._incomplete.add(lacks)
        self._odd.append(OddLine(self.path, line, f"{reason}, left out", text))

    def finished(self) -> Annotations:
        """Return everything gathered."""
        return Annotations(
            self.path,
            self.layout,
            tuple(self._segments),
            tuple(self._videos),
            self._splits,
            self.columns,
            tuple(self.ignored),
            tuple(self._odd),
            frozenset(self._incomplete),
            tuple(self.notes),
        )


def _fault_of(segment: Segment) -> str:
    if not (math.isfinite(segment.start) and math.isfinite(segment.stop)):
        return "has times that are not finite"
    if segment.start < 0:
        return "starts before its video"
    if segment.stop == segment.start:
        return "has no length"
    if segment.stop < segment.start:
        return "ends before it starts"
    if any(unicodedata.category(one) == "Cc" for one in segment.label):
        return "has a label with a control character"
    return "" if segment.label else "has no label"
