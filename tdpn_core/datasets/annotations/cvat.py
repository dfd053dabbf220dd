"""CVAT's XML 1.1 for video: tags of single frames, and tracks of shapes.

CVAT numbers the frames of a task; frame k is frame `start_frame + k * step` of its video.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from tdpn_core.datasets.annotations.segment import Annotations, Collector, Segment
from tdpn_core.datasets.annotations.xml_file import read_xml
from tdpn_core.errors import DatasetError

_STEP = re.compile(r"step\s*=\s*(\d+)")


@dataclass(frozen=True)
class _Task:
    video: str
    first: int
    step: int


def matches(path: Path) -> bool:
    """Return whether the root is CVAT's, with information on a task or project."""
    root = read_xml(path)
    return root.tag == "annotations" and (root.find("meta") is not None or root.find("track") is not None)


def read(path: Path) -> Annotations:
    """Read an export of a task or project: consecutive tags of a label are a segment, as are a track's visible parts.

    Raises:
        DatasetError: the file is malformed, or does not name its video.
    """
    root = read_xml(path)
    found = Collector(path, "CVAT")
    tasks = {one.findtext("id") or "": _task(one, path) for one in root.iter("task")}
    if not tasks:
        raise DatasetError("names no task in its meta element", where=path, hint="export as CVAT for video 1.1")
    for task in tasks.values():
        found.video(task.video, 1)
    tags: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for position, entry in enumerate(root.iter(), 1):
        if entry.tag not in ("track", "tag"):
            continue
        label = (entry.get("label") or "").strip()
        task = _of(entry, tasks, path)
        if entry.tag == "tag":
            key = next(name for name, one in tasks.items() if one is task)
            tags.setdefault((key, label), []).append((_number(entry, path, position), position))
            continue
        for first, last in _visible(entry, path, position):
            found.add(_segment(task, first, last, label, position))
    for (key, label), frames in tags.items():
        for first, last, position in _runs(frames):
            found.add(_segment(tasks[key], first, last, label, position))
    images = sum(1 for _ in root.iter("image"))
    if images:
        what = f"{images} image elements are not read: export as CVAT for video 1.1"
        raise DatasetError(what, where=path)
    return found.finished()


def _task(task: Element, path: Path) -> _Task:
    video = task.findtext("source") or task.findtext("name")
    if not video:
        raise DatasetError("a task has neither source nor name", where=path)
    step = _STEP.search(task.findtext("frame_filter") or "")
    first = task.findtext("start_frame") or "0"
    return _Task(video, int(first) if first.isdecimal() else 0, max(int(step[1]), 1) if step else 1)


def _of(entry: Element, tasks: dict[str, _Task], path: Path) -> _Task:
    if len(tasks) == 1:
        return next(iter(tasks.values()))
    task = tasks.get(entry.get("task_id") or "")
    if task is None:
        raise DatasetError(f"{entry.tag} of label {entry.get('label')!r} names no known task", where=path)
    return task


def _segment(task: _Task, first: int, last: int, label: str, position: int) -> Segment:
    start, stop = task.first + first * task.step, task.first + (last + 1) * task.step
    return Segment(task.video, start, stop, label, position, in_frames=True)


def _number(entry: Element, path: Path, position: int) -> int:
    text = entry.get("frame") or ""
    if not text.isdecimal():
        raise DatasetError(f"element {position}: frame is not a number: {text!r}", where=path)
    return int(text)


def _visible(track: Element, path: Path, position: int) -> Iterator[tuple[int, int]]:
    """Yield the first and last frame of each part of a track that is not outside of the picture."""
    first: int | None = None
    last = 0
    shapes = sorted(
        (_number(shape, path, position), shape.get("outside") == "1") for shape in track if shape.get("frame")
    )
    for frame, outside in shapes:
        if outside and first is not None:
            yield first, frame - 1
            first = None
        elif not outside:
            first, last = (frame if first is None else first), frame
    if first is not None:
        yield first, last


def _runs(frames: list[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield (first frame, last frame, position) of consecutive frames."""
    ordered = sorted(frames)
    first, position = ordered[0]
    last = first
    for frame, place in ordered[1:]:
        if frame > last + 1:
            yield first, last, position
            first, position = frame, place
        last = frame
    yield first, last, position
