"""Labelled parts of videos, as annotation tools and time-annotated lists give them."""

from __future__ import annotations

from pathlib import Path

from tdpn_core.datasets.annotations.formats import FORMATS, format_of
from tdpn_core.datasets.annotations.segment import Annotations, ScoredSegment, Segment
from tdpn_core.errors import DatasetError

__all__ = ["Annotations", "ScoredSegment", "Segment", "read_segments"]


def read_segments(path: Path) -> Annotations:
    """Read an annotation file in any supported format, recognised by its content.

    Returns:
        Its segments, and entries that are left out. Segments of tools that count frames have `in_frames` set.

    Raises:
        DatasetError: the file cannot be read, is in no supported format, or is malformed.
    """
    if not path.is_file():
        raise DatasetError("no such annotation file", where=path)
    found = format_of(path)
    if found is None:
        titles = ", ".join(one.title for one in FORMATS)
        raise DatasetError("is in no supported format of annotations", where=path, hint=f"supported: {titles}")
    return found.read(path)
