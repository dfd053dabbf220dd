"""ActivityNet's JSON, which THUMOS and others use, too: `database`, by video `subset` and `annotations`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tdpn_core.datasets.annotation_io import fault, read_json
from tdpn_core.datasets.annotations.segment import Annotations, Collector, Segment
from tdpn_core.errors import DatasetError

_USED = {"subset", "annotations", "segment", "label"}


def matches(path: Path) -> bool:
    """Return whether a JSON file has a `database`."""
    content = read_json(path)
    return isinstance(content, dict) and isinstance(content.get("database"), dict)


def read(path: Path) -> Annotations:
    """Read a JSON file; segments are in seconds, an entry's position counts all annotations.

    Raises:
        DatasetError: the file is malformed, or a subset is unknown.
    """
    content = read_json(path)
    database = content.get("database") if isinstance(content, dict) else None
    if not isinstance(database, dict):
        raise DatasetError("has no object 'database'", where=path)
    found = Collector(path, "ActivityNet")
    position = 0
    unused: dict[str, None] = {}
    for video, entry in database.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("annotations", []), list):
            raise fault(path, position + 1, "video is not an object with a list of annotations", video)
        subset = entry.get("subset")
        found.video(video, position + 1, str(subset) if subset else None)
        unused |= dict.fromkeys(name for name in entry if name not in _USED)
        for one in entry.get("annotations", []):
            position += 1
            _add(found, video, one, position)
    found.ignored = list(unused)
    return found.finished()


def _add(found: Collector, video: str, entry: Any, position: int) -> None:
    times = entry.get("segment") if isinstance(entry, dict) else None
    label = entry.get("label") if isinstance(entry, dict) else None
    if not isinstance(times, list) or len(times) != 2 or not all(type(one) in (int, float) for one in times):
        found.odd(position, "has no segment of two numbers", f"{video} {times!r}", lacks=video)
    else:
        found.add(Segment(video, float(times[0]), float(times[1]), str(label or "").strip(), position))
