"""Label Studio's JSON: timeline labels of videos in frames, or segments of audio or video in seconds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tdpn_core.datasets.annotation_io import fault, read_json, shorten
from tdpn_core.datasets.annotations.segment import Annotations, Collector, ScoredSegment, Segment
from tdpn_core.errors import DatasetError

_LABELS = ("timelinelabels", "labels")
_MEDIA = ("video", "video_url", "url", "audio", "file")


def matches(path: Path) -> bool:
    """Return whether a JSON file is a list of tasks with `data`."""
    content = read_json(path)
    return isinstance(content, list) and bool(content) and isinstance(content[0], dict) and "data" in content[0]


def read(path: Path) -> Annotations:
    """Read an export (JSON); the first annotation of a task that was not cancelled is used.

    A task without the key `annotations` has not been exported, but imported: its first prediction is used.
    `timelinelabels` give frames from 1 to the last one, inclusive; `labels` with `start` and `end` give seconds.

    Raises:
        DatasetError: the file is malformed, or a task names no video.
    """
    content = read_json(path)
    if not isinstance(content, list):
        raise DatasetError("is not a list of tasks", where=path, hint="export as JSON, not JSON-MIN")
    found = Collector(path, "Label Studio")
    further = predicted = 0
    for position, task in enumerate(content, 1):
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            raise fault(path, position, "task has no data", shorten(task))
        video = _video(task["data"])
        if video is None:
            raise fault(path, position, "task names no video", shorten(task["data"]))
        found.video(video, position)
        if "annotations" in task:
            made = [one for one in _list(task["annotations"]) if not one.get("was_cancelled")]
        else:
            made = _list(task.get("predictions"))
            predicted += bool(made)
        further += max(len(made) - 1, 0)
        for result in _list(made[0].get("result")) if made else ():
            _add(found, video, result, position)
    if predicted:
        found.notes.append(f"{path.name}: {predicted} tasks have no annotations: their predictions are read")
    if further:
        found.notes.append(f"{path.name}: {further} further annotations of tasks by others are not read")
    return found.finished()


def written(segments: Mapping[str, Sequence[ScoredSegment]], rates: Mapping[str, float], network: str) -> str:
    """Return tasks with predictions (pre-annotations) for import, as JSON.

    Label Studio counts frames from 1. The labelling interface must call its labels `label` and its video `video`.

    Args:
        segments: in seconds, by video; also of videos without a segment.
        rates: frames per second by video.
        network: which network made them.
    """
    tasks = [_task(video, found, rates[video], network) for video, found in segments.items()]
    return json.dumps(tasks, indent=1, ensure_ascii=False) + "\n"


def _task(video: str, segments: Sequence[ScoredSegment], rate: float, network: str) -> dict[str, Any]:
    results = []
    for number, one in enumerate(segments, 1):
        first = round(one.start * rate) + 1
        last = max(first, round(one.stop * rate))
        value = {"ranges": [{"start": first, "end": last}], "timelinelabels": [one.label]}
        names = {"id": f"segment{number}", "from_name": "label", "to_name": "video", "type": "timelinelabels"}
        results.append({**names, "value": value, "score": round(one.score, 6)})
    score = sum(one.score for one in segments) / max(len(segments), 1)
    prediction = {"model_version": network, "score": round(score, 6), "result": results}
    return {"data": {"video": video}, "predictions": [prediction]}


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
        found.odd(position, "has no start and end", f"{video} {', '.join(labels)}", lacks=video)
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
