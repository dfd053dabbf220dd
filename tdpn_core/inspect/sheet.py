"""A contact sheet: some clips of a prepared data set, frames side by side, as one picture."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tdpn_core import files
from tdpn_core.errors import ClipError, ShardError
from tdpn_core.inspect.folder import Prepared
from tdpn_core.inspect.summary import Summary
from tdpn_core.shards.store import ClipStore
from tdpn_core.video.flow import BOUND, flow_pixels

CLIPS = 12
FRAMES = 6
_WIDTH, _ROW, _DPI = 12.0, 1.75, 80  # inches, inches a clip, dots an inch
_CAPTION = 100  # characters


def contact_sheet(
    prepared: Prepared, summary: Summary, path: Path, *, clips: int = CLIPS, frames: int = FRAMES
) -> list[str]:
    """Draw `clips` clips, evenly over classes and splits, with `frames` frames each, into a PNG file.

    Args:
        prepared: the data set.
        summary: of it; clips of the shards that it found sound are shown.
        path: the file.
        clips: rows.
        frames: columns, evenly over each clip.

    Returns:
        The ids of the clips that are shown.

    Raises:
        ShardError: there is no clip that can be shown.
    """
    stores = _stores(prepared, summary)
    chosen = [(store, clip) for store, share in _shares(stores, clips) for clip in spread(store, share)]
    rows = [row for row in (_row(store, clip, frames) for store, clip in chosen) if row is not None]
    if not rows:
        raise ShardError("no clip can be shown", where=prepared.folder)
    _draw([(caption, pictures) for _, caption, pictures in rows], frames, path)
    return [name for name, _, _ in rows]


def spread(store: ClipStore, count: int) -> list[int]:
    """`count` clips, or all: one of each class, in turns, of the classes at even distances, until there are enough."""
    labels = next(iter(store.labels.values())) if store.labels else np.zeros(len(store), np.int64)
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(labels[order]) != 0])
    turn = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    if len(starts) >= count:
        picked = order[starts[np.linspace(0, len(starts) - 1, count).astype(np.intp)]]
    else:
        picked = order[np.argsort(turn, kind="stable")[:count]]
    return sorted(picked.tolist(), key=lambda clip: (labels[clip], clip))


def _stores(prepared: Prepared, summary: Summary) -> list[ClipStore]:
    sound = set(summary.sound)
    shards = [shard for shard in prepared.manifest.shards if shard.file in sound]
    manifest = replace(prepared.manifest, shards=shards)
    return [ClipStore(prepared.folder, split, manifest=manifest) for split in manifest.clips()]


def _shares(stores: list[ClipStore], clips: int) -> list[tuple[ClipStore, int]]:
    """How many clips of each split are shown: as many as it has of all, but one at least."""
    total = sum(map(len, stores))
    return [(store, max(round(clips * len(store) / total), 1)) for store in stores]


def _row(store: ClipStore, clip: int, frames: int) -> tuple[str, str, list[NDArray[np.uint8]]] | None:
    """Name, caption and pictures of a clip; None: it cannot be read, which `find_faults` tells."""
    count = int(store.counts[clip])
    try:
        pixels = store.decode(clip, np.linspace(0, count - 1, min(frames, count)).astype(int).tolist())
    except (ShardError, ClipError):
        return None
    names = [store.classes[head][labels[clip]] for head, labels in store.labels.items() if labels[clip] >= 0]
    height, width = store.size(clip)
    facts = f"{store.split}, {count} frames, {store.fps[clip]:.4g}/s, {width}x{height}"
    caption = f"{' / '.join(names) or 'unlabelled'}  ·  {store.ids[clip]}  ·  {facts}"
    return store.ids[clip], caption, [_shown(picture) for picture in pixels]


def _shown(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3): optical flow as colours, its direction as hue and its length as brightness."""
    if picture.shape[-1] == 3:
        return picture
    from matplotlib.colors import hsv_to_rgb

    u, v = np.moveaxis(flow_pixels(picture), -1, 0)
    hue = (np.arctan2(v, u) / (2 * np.pi)) % 1
    value = np.sqrt(np.clip(np.hypot(u, v) / BOUND, 0, 1))
    colours: NDArray[np.uint8] = np.rint(hsv_to_rgb(np.stack([hue, np.ones_like(hue), value], -1)) * 255).astype("u1")
    return colours


def _draw(rows: list[tuple[str, list[NDArray[np.uint8]]]], frames: int, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, _ROW * len(rows)), dpi=_DPI)
    grid = figure.subplots(len(rows), frames, squeeze=False)
    figure.subplots_adjust(0.005, 0.01, 0.995, 1 - 0.25 / (_ROW * len(rows)), 0.02, 0.2)
    for cells, (caption, pictures) in zip(grid, rows, strict=True):
        text = caption.encode(errors="replace").decode().replace("\n", " ")
        cells[0].set_title(text[:_CAPTION], loc="left", fontsize=8, parse_math=False)
        for number, cell in enumerate(cells):
            cell.set_axis_off()
            if number < len(pictures):
                cell.imshow(pictures[number], interpolation="antialiased")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name in a script that the font lacks
        with files.atomic_path(path) as temporary:
            figure.savefig(temporary, format="png")
