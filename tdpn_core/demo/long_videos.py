"""Long videos in the demo's style: actions with gaps between them, and a list of when each one happens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tdpn_core.datasets.annotations.table import written
from tdpn_core.datasets.segments import ScoredSegment
from tdpn_core.demo.motions import draw_path
from tdpn_core.demo.render import FPS, draw_background, draw_object, encode, overlay_object
from tdpn_core.files import make_folder, write_text
from tdpn_core.rng import derive
from tdpn_core.video.ffmpeg_binary import find_ffmpeg

ACTIONS = ("circling fast", "circling slowly", "moving left", "moving right", "swinging fast", "swinging slowly")
"""The demo's motions that look the same at all their moments; a change of speed needs a start and an end."""

ACTION, GAP = (3.0, 8.0), (2.0, 6.0)
"""Shortest and longest duration in seconds."""

_SECOND = 2  # last part of the random stream's path of the second object


def render_long_videos(out: Path, *, videos: int, seconds: float, seed: int, overlapping: float = 0.0) -> Path:
    """Write `videos` MP4 files and their `annotations.csv` into a folder, and return the list.

    In a gap, the object stays where it is or is not there. During a share `overlapping` of the actions, a second object
    begins another one, which may last longer. Existing videos are kept; a seed gives the same videos.

    Raises:
        ToolError: ffmpeg failed.
        TdpnError: a file cannot be written.
    """
    make_folder(out)
    ffmpeg = find_ffmpeg().path
    plans = [_plan(f"{number:03d}.mp4", seconds, derive(seed, number)) for number in range(videos)]
    others = [
        _second_plan(plan, overlapping, seconds, derive(seed, number, _SECOND)) for number, plan in enumerate(plans)
    ]

    def write(number: int) -> None:
        path = out / f"{number:03d}.mp4"
        if not path.exists():
            frames = _frames(plans[number], seconds, derive(seed, number, 1))
            encode(_with_second(frames, others[number], derive(seed, number, _SECOND, 1)), path, ffmpeg)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(write, range(videos)))
    annotations = out / "annotations.csv"
    both = (segment for plan in zip(plans, others, strict=True) for part in plan for segment in part)
    write_text(annotations, written(both))
    return annotations


def _plan(name: str, seconds: float, rng: np.random.Generator) -> list[ScoredSegment]:
    """Draw when which action happens."""
    segments = []
    start = round(rng.uniform(*GAP), 2)
    while (stop := round(start + rng.uniform(*ACTION), 2)) < seconds - 1:
        segments.append(ScoredSegment(name, start, stop, str(rng.choice(ACTIONS))))
        start = round(stop + rng.uniform(*GAP), 2)
    return segments


def _second_plan(
    plan: list[ScoredSegment], share: float, seconds: float, rng: np.random.Generator
) -> list[ScoredSegment]:
    """Draw the actions of the second object: one begins in the first half of some of the others."""
    segments: list[ScoredSegment] = []
    for one in plan:
        start = round(rng.uniform(one.start, (one.start + one.stop) / 2), 2)
        stop = round(start + rng.uniform(*ACTION), 2)
        label = str(rng.choice([action for action in ACTIONS if action != one.label]))
        free = not segments or segments[-1].stop < start
        if rng.random() < share and free and stop < seconds - 1:
            segments.append(ScoredSegment(one.video, start, stop, label))
    return segments


def _with_second(
    frames: npt.NDArray[np.uint8], plan: list[ScoredSegment], rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Draw the second object, which is there during its actions, onto all frames of a video."""
    for segment in plan:
        part = slice(round(segment.start * FPS), round(segment.stop * FPS))
        path = draw_path(segment.label, part.stop - part.start, rng)
        frames[part] = overlay_object(frames[part], path, rng)
    return frames


def _frames(plan: list[ScoredSegment], seconds: float, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return all frames of a video, (T, SIDE, SIDE, 3), RGB."""
    return np.concatenate(list(_pieces(plan, round(seconds * FPS), rng)))


def _pieces(plan: list[ScoredSegment], count: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.uint8]]:
    background = draw_background(rng)
    at = 0
    for segment in plan:
        first, last = round(segment.start * FPS), round(segment.stop * FPS)
        path = draw_path(segment.label, last - first, rng)
        before = np.repeat(path[:1], first - at, axis=0)  # the object of the next action stays, or is not there yet
        moving = draw_object(np.concatenate([before, path]), background, rng)
        if rng.random() < 0.5:
            moving[: first - at] = np.clip(background + np.float32(0.5), 0, 255).astype(np.uint8)
        yield moving
        at = last
    yield np.repeat(np.clip(background + np.float32(0.5), 0, 255).astype(np.uint8)[None], count - at, axis=0)
