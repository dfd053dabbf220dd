"""Charades' CSV: a video per row, its actions as `c092 11.90 21.20;c147 0.00 12.60`."""

from __future__ import annotations

from pathlib import Path

from tdpn_core.datasets.annotation_io import read_columns, read_header
from tdpn_core.datasets.annotations.segment import Annotations, Collector, Segment
from tdpn_core.datasets.annotations.times import parse_seconds


def matches(path: Path) -> bool:
    """Return whether the columns `id` and `actions` exist."""
    return {"id", "actions"} <= set(read_header(path))


def read(path: Path) -> Annotations:
    """Read a file of Charades.

    Raises:
        DatasetError: the file cannot be read, or a row is too short.
    """
    found = Collector(path, "Charades")
    found.columns = {"path": "id", "label": "actions", "start": "actions", "end": "actions"}
    found.ignored = [name for name in read_header(path) if name not in ("id", "actions")]
    for line, (video, actions) in read_columns(path, ["id", "actions"]):
        found.video(video, line)
        for action in filter(None, map(str.strip, actions.split(";"))):
            parts = action.split()
            times = [parse_seconds(part) for part in parts[1:]]
            if len(times) != 2 or times[0] is None or times[1] is None:
                found.odd(line, "action is not 'class start end'", f"{video} {action}", lacks=video)
            else:
                found.add(Segment(video, times[0], times[1], parts[0], line))
    return found.finished()
