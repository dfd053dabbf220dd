"""The demo's data set: MP4 files of one object moving over a static background.

Only the motion determines the class (`motions`). Shape, colour, texture, size and background are random.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tdpn_core.demo.motions import MOTIONS, Positions, draw_path
from tdpn_core.errors import ToolError
from tdpn_core.files import atomic_path
from tdpn_core.progress import SILENT, Progress
from tdpn_core.rng import derive
from tdpn_core.video.ffmpeg_binary import find_ffmpeg

FRAMES = 32
FPS = 25
SIDE = 72
"""Height and width of a clip, in pixels."""

ENCODING_SECONDS = 60.0
"""Timeout for encoding one clip."""

Image = npt.NDArray[np.float32]


def render_dataset(
    out: Path, *, train_per_class: int, val_per_class: int, seed: int, progress: Progress = SILENT
) -> None:
    """Write `out/{train,val}/<class>/NNN.mp4`; existing files are kept, and the same seed gives the same clips.

    Raises:
        ToolError: ffmpeg failed.
        TdpnError: a file cannot be written.
    """
    ffmpeg = find_ffmpeg().path
    splits = {"train": train_per_class, "val": val_per_class}
    tasks = [
        (out / split / name / f"{number:03d}.mp4", name, (place, label, number))
        for place, (split, per_class) in enumerate(splits.items())
        for label, name in enumerate(MOTIONS)
        for number in range(per_class)
    ]

    def write(task: tuple[Path, str, tuple[int, int, int]]) -> None:
        path, name, draw = task
        if not path.exists():
            encode(render_clip(name, derive(seed, *draw)), path, ffmpeg)

    progress.begin("render", len(tasks))
    try:
        with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
            for _ in pool.map(write, tasks):
                progress.advance()
    finally:
        progress.end()


def render_clip(name: str, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return one clip of class `name`, shape (FRAMES, SIDE, SIDE, 3), RGB."""
    path = draw_path(name, FRAMES, rng)
    return draw_object(path, draw_background(rng), rng)


def draw_object(path: Positions, background: Image, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return frames of an object along a path, (T, SIDE, SIDE, 3), RGB."""
    return draw_objects([path], background, rng)


def draw_objects(paths: Sequence[Positions], background: Image, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return frames of an object along each path, (T, SIDE, SIDE, 3), RGB; later objects cover earlier ones."""
    frames = background
    for path in paths:
        cover, colours = _object(path, background.mean(axis=(0, 1)), rng)
        frames = frames + cover[..., None] * (colours - frames)
    pixels: npt.NDArray[np.uint8] = np.clip(frames + np.float32(0.5), 0, 255).astype(np.uint8)
    return pixels


def overlay_object(frames: npt.NDArray[np.uint8], path: Positions, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return frames (T, SIDE, SIDE, 3) with one more object, along a path (T, 2)."""
    cover, colours = _object(path, frames.mean(axis=(0, 1, 2)), rng)
    pixels: npt.NDArray[np.uint8] = (frames + cover[..., None] * (colours - frames) + np.float32(0.5)).astype(np.uint8)
    return pixels


def encode(frames: npt.NDArray[np.uint8], path: Path, ffmpeg: str) -> None:
    """Write frames (T, H, W, 3) as H.264 in MP4, atomically, with the program `ffmpeg`.

    Raises:
        ToolError: ffmpeg failed.
        TdpnError: the file cannot be written.
    """
    height, width = frames.shape[1:3]
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(FPS), "-i", "pipe:0"]
    # one thread each, since clips are encoded in parallel
    target = ["-c:v", "libx264", "-preset", "veryfast", "-threads", "1", "-crf", "18", "-pix_fmt", "yuv420p"]
    with atomic_path(path) as temporary:
        command = [ffmpeg, "-v", "error", *source, *target, "-f", "mp4", f"file:{temporary}"]
        try:
            done = subprocess.run(command, input=frames.tobytes(), capture_output=True, timeout=ENCODING_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise ToolError(f"ffmpeg took more than {ENCODING_SECONDS:.0f} seconds to encode", where=path) from error
        if done.returncode != 0:
            words = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
            raise ToolError(f"ffmpeg cannot encode: {words[-1]}", where=path)


def draw_background(rng: np.random.Generator) -> Image:
    """Return a gradient of two colours with coarse clouds, shape (SIDE, SIDE, 3)."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] / SIDE - 0.5
    turn = rng.uniform(0, 2 * np.pi)
    ramp = 0.5 + 0.5 * (np.cos(turn) * columns + np.sin(turn) * rows)
    one, other = rng.uniform(30, 225, (2, 3))
    picture = other + ramp[..., None] * (one - other) + 30 * _clouds(rng)[..., None]
    grainy: Image = (picture + rng.normal(0, 2, (SIDE, SIDE, 1))).astype(np.float32)
    return grainy


def _clouds(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return smooth noise between -1 and 1, shape (SIDE, SIDE): random values on a coarse grid, interpolated."""
    cells = int(rng.integers(3, 10))
    at = np.linspace(0, cells - 1, SIDE)
    weights = np.stack([np.interp(at, np.arange(cells), knot) for knot in np.eye(cells)], axis=1)  # (SIDE, cells)
    clouds: npt.NDArray[np.float64] = weights @ rng.uniform(-1, 1, (cells, cells)) @ weights.T
    return clouds


def _object(path: Positions, around: Image, rng: np.random.Generator) -> tuple[Image, Image]:
    """Return an object along `path`: its coverage of each pixel, (T, SIDE, SIDE), and its colours, (..., 3)."""
    pixels = np.arange(SIDE, dtype=np.float32) + 0.5
    x, y = ((pixels - centre[:, None] + SIDE / 2) % SIDE - SIDE / 2 for centre in (SIDE * path.T).astype(np.float32))
    x, y = x[:, None, :], y[:, :, None]  # offsets from the object's centre on the torus, (T, 1, SIDE) and (T, SIDE, 1)
    turn = rng.uniform(0, 2 * np.pi)
    cosine, sine = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    u, v = cosine * x + sine * y, cosine * y - sine * x
    cover = np.clip(0.5 - _distance(u, v, rng), 0, 1)
    stripes = 0.5 + 0.5 * np.sin(u * np.float32(rng.uniform(0.4, 1.2)) + np.float32(rng.uniform(0, 2 * np.pi)))
    one, other = _contrasting(around, rng), _contrasting(around, rng)
    return cover, other + stripes[..., None] * (one - other)


def _distance(u: Image, v: Image, rng: np.random.Generator) -> Image:
    """Return the signed distance in pixels to the edge of a random shape, negative inside, for anti-aliased edges."""
    radius = np.float32(rng.uniform(6, 10))
    disc = np.hypot(u, v) - radius
    ring = np.abs(disc + np.float32(0.25) * radius) - np.float32(0.3) * radius
    square = np.maximum(np.abs(u), np.abs(v)) - np.float32(0.85) * radius
    sides = (v, np.float32(0.866) * u - np.float32(0.5) * v, np.float32(-0.866) * u - np.float32(0.5) * v)
    triangle = np.maximum.reduce(sides) - np.float32(0.6) * radius
    chosen: Image = (disc, ring, square, triangle)[rng.integers(4)]
    return chosen


def _contrasting(around: Image, rng: np.random.Generator) -> Image:
    """Return a colour (3,) that contrasts with `around`."""
    colours = rng.uniform(0, 255, (12, 3)).astype(np.float32)
    farthest: Image = colours[np.linalg.norm(colours - around, axis=1).argmax()]
    return farthest
