"""Label Studio's JSON: timeline labels of videos in frames, or segments of audio or video in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tdpn_core.datasets.annotation_io import fault, read_json, shorten
from tdpn_core.datasets.annotations.segment import Annotations, Collector, Segment
from tdpn_core.errors import DatasetError

_LABELS = ("timelinelabels", "labels")
_MEDIA = ("video", "video_url", "url", "audio", "file")


def matches(path: Path) -> bool:
    """Return whether a JSON file is a list of tasks with `data`."""
    content = read_json(path)
    return isinstance(content, list) and bool(content) and isinstance(content[0], dict) and "data" in content[0]


def read(path: Path) -> Annotations:
    """Read an export (JSON); the first annotation of a task that was not cancelled is used.

    `timelinelabels` give frames from 1 to the last one, inclusive; `labels` with `start` and `end` give seconds.

    Raises:
        DatasetError: the file is malformed, or a task names no video.
    """
    content = read_json(path)
    if not isinstance(content, list):
        raise DatasetError("is not a list of tasks", where=path, hint="export as JSON, not JSON-MIN")
    found = Collector(path, "Label Studio")
    further = 0
    for position, task in enumerate(content, 1):
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            raise fault(path, position, "task has no data", shorten(task))
        video = _video(task["data"])
        if video is None:
            raise fault(path, position, "task names no video", shorten(task["data"]))
        found.video(video, position)
        made = [one for one in _list(task.get("annotations")) if not one.get("was_cancelled")]
        further += max(len(made) - 1, 0)
        for result in _list(made[0].get("result")) if made else ():
            _add(found, video, result, position)
    if further:
        found.notes.append(f"{path.name}: {further} further annotations of tasks by others are not read")
    return found.finished()


def _list(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _video(data: dict[str, Any]) -> str | None:
    named = [data[key] for key in _MEDIA if isinstance(data.get(key), str)]
    texts = named or [value for value in data.values() if isinstance(value, str) and "." in value]
    return texts[0] if texts else None


def _add(found: Collector, video: str, result: dict[str, Any], position: int) -> None:
    value = result.get("value")
    if not isinstance(value, dict):
        return
    key = next((key for key in _LABELS if isinstance(value.get(key), list)), None)
    if key is None:
        found.odd(position, f"result of type {result.get('type')!r} is not a segment", video)
        return
    labels = [str(label).strip() for label in value[key]] or [""]
    times = list(_times(value))
    if not times:
        found.odd(position, "has no start and end", f"{video} {', '.join(labels)}")
    for start, stop, in_frames in times:
        for label in labels:
            found.add(Segment(video, start, stop, label, position, in_frames))


def _times(value: dict[str, Any]) -> Iterator[tuple[float, float, bool]]:
    for one in _list(value.get("ranges")):
        if _number(one.get("start")) and _number(one.get("end")):
            yield float(one["start"]) - 1, float(one["end"]), True
    if "ranges" not in value and _number(value.get("start")) and _number(value.get("end")):
        yield float(value["start"]), float(value["end"]), False


def _number(value: Any) -> bool:
    return type(value) in (int, float)
