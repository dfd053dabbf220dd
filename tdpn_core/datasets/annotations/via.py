"""VIA 3's project (JSON) and its CSV export: temporal segments of videos in seconds."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from tdpn_core.datasets.annotation_io import encoding_of, fault, read_json, shorten
from tdpn_core.datasets.annotations.segment import EVERY, Annotations, Collector, Segment
from tdpn_core.errors import DatasetError

_HEADER = "# CSV_HEADER"
_COLUMNS = ("file_list", "temporal_coordinates", "metadata")
_NAME = "TEMPORAL-SEGMENTS"


def matches(path: Path) -> bool:
    """Return whether a file is a VIA 3 project or CSV export."""
    if path.suffix.lower() == ".csv":
        return any(line.startswith(_HEADER) and "temporal_coordinates" in line for line in _lines(path)[:20])
    content = read_json(path)
    return isinstance(content, dict) and {"file", "view", "metadata"} <= set(content)


def read(path: Path) -> Annotations:
    """Read a project or export; regions of single pictures are left out.

    Raises:
        DatasetError: the file is malformed, or it is unclear which of several attributes is the label.
    """
    found = Collector(path, "VIA")
    if path.suffix.lower() == ".csv":
        _read_csv(path, found)
    else:
        _read_project(path, found)
    return found.finished()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding=encoding_of(path)).splitlines()
    except (OSError, UnicodeError) as error:
        raise DatasetError(f"cannot be read: {error}", where=path) from error


def _read_csv(path: Path, found: Collector) -> None:
    lines = _lines(path)
    header = next(line for line in lines if line.startswith(_HEADER)).partition("=")[2]
    names = [name.strip() for name in header.split(",")]
    lacking = [name for name in _COLUMNS if name not in names]
    if lacking:
        raise DatasetError(f"has no column {lacking[0]!r}; its header is {header.strip()}", where=path)
    for line, text in enumerate(lines, 1):
        if not text.strip() or text.startswith("#"):
            continue
        fields = next(csv.reader(io.StringIO(text)), [])
        if len(fields) != len(names):
            found.odd(line, f"has {len(fields)} fields, but the header has {len(names)}", shorten(text), lacks=EVERY)
            continue
        try:
            files, times, values = (json.loads(fields[names.index(name)]) for name in _COLUMNS)
        except ValueError:
            found.odd(line, "is not JSON in its fields", shorten(text), lacks=EVERY)
            continue
        videos = files if isinstance(files, list) else [files]
        _add(found, path, line, str(videos[0]) if videos else "", times, values if isinstance(values, dict) else {})


def _read_project(path: Path, found: Collector) -> None:
    content = read_json(path)
    tables = [content.get(name) for name in ("file", "view", "metadata")]
    if not all(isinstance(table, dict) for table in tables):
        raise DatasetError("file, view and metadata are not objects", where=path)
    files, views, metadata = tables
    attributes = content.get("attribute") or {}
    try:
        videos = {view: str(files[str(one["fid_list"][0])]["fname"]) for view, one in views.items() if one["fid_list"]}
        for video in videos.values():
            found.video(video, 1)
        for position, entry in enumerate(metadata.values(), 1):
            values = {
                str(attributes.get(key, {}).get("aname", key)): attributes.get(key, {})
                .get("options", {})
                .get(value, value)
                for key, value in entry["av"].items()
            }
            _add(found, path, position, videos[str(entry["vid"])], entry["z"], values)
    except (KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"is not a complete VIA 3 project: {error!r}", where=path) from error


def _add(found: Collector, path: Path, line: int, video: str, times: Any, values: dict[str, Any]) -> None:
    if not video:
        found.odd(line, "names no video", shorten(values), lacks=EVERY)
        return
    numbers = isinstance(times, list) and all(type(one) in (int, float) for one in times)
    if not numbers or len(times) != 2:
        found.odd(line, "is not a segment of time", f"{video} {times!r}")
        return
    stated = {name: str(value).strip() for name, value in values.items() if str(value).strip()}
    if len(stated) > 1 and _NAME not in stated:
        hint = f"call the attribute with the label {_NAME}"
        raise fault(path, line, f"has {len(stated)} attributes that could be the label", ", ".join(stated), hint)
    label = stated.get(_NAME, next(iter(stated.values()), ""))
    found.add(Segment(video, float(times[0]), float(times[1]), label, line))
