"""Contact sheet: clips of every class of a prepared data set, with frames side by side, as one image.

Clips are shown as stored, or as in training, with the recipe's frames, crops, flips and colour changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tdpn_core import files
from tdpn_core.config.schema import RunConfig
from tdpn_core.errors import ClipError, ShardError
from tdpn_core.labels import classes_of, first_classes
from tdpn_core.prep.inspect.status import Prepared
from tdpn_core.prep.inspect.summary import Summary
from tdpn_core.sampling.augment import augment
from tdpn_core.sampling.dataset import TrainingClips
from tdpn_core.shards.reader import ClipStore
from tdpn_core.video.optical_flow import BOUND, flow_pixels

CLIPS = 12
FRAMES = 6
_WIDTH, _TEXT, _GAP = 960, 18, 4  # pixels: width of a row, height of its caption, gap between pictures
_ROWS, _MOST_COLUMNS = 24, 4  # rows per column, before another column is added
_CAPTION = 130  # characters
_FONT = 12


class Row(NamedTuple):
    """One clip on the sheet."""

    clip: str
    """Id of the clip."""

    caption: str
    pictures: list[NDArray[np.uint8]]
    """Pictures (H, W, 3)."""


def contact_sheet(
    prepared: Prepared, summary: Summary, path: Path, *, clips: int = CLIPS, frames: int = FRAMES
) -> list[str]:
    """Draw clips of every class, spread evenly over the splits, with `frames` frames each, into a PNG file.

    Args:
        prepared: the data set.
        summary: its summary; only clips of intact shards are shown.
        path: output file.
        clips: number of rows, unless there are more classes.
        frames: number of pictures per row, evenly spaced over each clip.

    Returns:
        Ids of the clips shown.

    Raises:
        ShardError: no clip can be shown.
    """
    chosen = _chosen(_stores(prepared, summary), clips)
    return _sheet(prepared, path, frames, [partial(_row, store, clip, frames) for store, clip in chosen])


def training_sheet(
    prepared: Prepared, summary: Summary, config: RunConfig, path: Path, *, clips: int = CLIPS, frames: int = FRAMES
) -> list[str]:
    """Draw training clips of every class as in the first epoch of a run with `config`; see `contact_sheet`.

    Raises:
        ShardError: no training clip can be shown.
    """
    stores = [store for store in _stores(prepared, summary) if store.split == "train"]
    if not stores:
        raise ShardError("has no training clips", where=prepared.folder)
    seen = TrainingClips(stores[0], config.model, config.sampling, config.train.seed)
    chosen = _chosen(stores, clips)
    return _sheet(prepared, path, frames, [partial(_trained_row, seen, clip, frames) for _, clip in chosen])


def _sheet(prepared: Prepared, path: Path, frames: int, makers: list[Callable[[], Row | None]]) -> list[str]:
    rows = [row for row in (make() for make in makers) if row is not None]
    if not rows:
        raise ShardError("no clip can be shown", where=prepared.folder)
    _draw(rows, frames, path)
    return [row.clip for row in rows]


def _chosen(stores: list[ClipStore], clips: int) -> list[tuple[ClipStore, int]]:
    """Choose clips in proportion to the splits, and one of each class that would be missing."""
    chosen = [(store, clip) for store, share in _shares(stores, clips) for clip in spread(store, share)]
    shown = {int(_first_labels(store)[clip]) for store, clip in chosen}
    for store in stores:
        labels = _first_labels(store)
        for label in sorted(set(labels[labels >= 0].tolist()) - shown):
            chosen.append((store, int(np.flatnonzero(labels == label)[0])))
            shown.add(label)
    place = {store.split: number for number, store in enumerate(stores)}
    return sorted(chosen, key=lambda one: (place[one[0].split], _first_labels(one[0])[one[1]], one[1]))


def _first_labels(store: ClipStore) -> NDArray[np.int64]:
    """Return (N,) labels of the first head; in multi-label data the first class of each clip."""
    return first_classes(next(iter(store.labels.values()))) if store.labels else np.zeros(len(store), np.int64)


def spread(store: ClipStore, count: int) -> list[int]:
    """Choose `count` clips, or all: one per class in turn, from evenly spaced classes, until there are enough."""
    labels = _first_labels(store)
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
    """Distribute clips over the splits in proportion to their sizes, at least one each."""
    total = sum(map(len, stores))
    return [(store, max(round(clips * len(store) / total), 1)) for store in stores]


def _row(store: ClipStore, clip: int, frames: int) -> Row | None:
    """Return a clip as stored; None if it cannot be read, which `find_faults` reports."""
    count = int(store.counts[clip])
    try:
        pixels = store.decode(clip, np.linspace(0, count - 1, min(frames, count)).astype(int).tolist())
    except (ShardError, ClipError):
        return None
    names = [store.classes[head][label] for head, labels in store.labels.items() for label in classes_of(labels, clip)]
    height, width = store.size(clip)
    facts = f"{store.split}, {count} frames, {store.fps[clip]:.4g}/s, {width}x{height}"
    caption = f"{' / '.join(names) or 'unlabelled'}  ·  {store.ids[clip]}  ·  {facts}"
    return Row(store.ids[clip], caption, [_shown(picture) for picture in pixels])


def _trained_row(clips: TrainingClips, clip: int, frames: int) -> Row | None:
    """Return a clip as in the first epoch of training."""
    source = clips.source
    try:
        draw, sample = clips.draw(0, clip), clips[0, clip]
    except (ShardError, ClipError):
        return None
    pixels = augment(sample.clip[None], [clip], 0, clips.sampling, clips.seed)[0]
    shown = torch.linspace(0, pixels.shape[1] - 1, min(frames, pixels.shape[1])).long()
    pictures = pixels[:, shown].permute(1, 2, 3, 0).contiguous().numpy()
    names = [
        source.classes[head][label]
        for head, own in sample.labels.items()
        for label in classes_of(np.asarray(own)[None], 0)
    ]
    _, _, height, width = draw.crop
    own, size = source.size(clip), clips.model.input_size
    facts = f"{'flipped' if draw.flip else 'not flipped'}, {width}x{height} of {own[1]}x{own[0]} at {size}x{size}"
    caption = f"{' / '.join(names)}  ·  {source.ids[clip]}  ·  {facts}"
    return Row(source.ids[clip], caption, [_shown(picture) for picture in pictures])


def _shown(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (H, W, 3): optical flow as colours, direction as hue and magnitude as brightness."""
    if picture.shape[-1] == 3:
        return picture
    from matplotlib.colors import hsv_to_rgb

    u, v = np.moveaxis(flow_pixels(picture), -1, 0)
    hue = (np.arctan2(v, u) / (2 * np.pi)) % 1
    value = np.sqrt(np.clip(np.hypot(u, v) / BOUND, 0, 1))
    colours: NDArray[np.uint8] = np.rint(hsv_to_rgb(np.stack([hue, np.ones_like(hue), value], -1)) * 255).astype("u1")
    return colours


def _draw(rows: list[Row], frames: int, path: Path) -> None:
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    columns = min(-(-len(rows) // _ROWS), _MOST_COLUMNS)
    each = -(-len(rows) // columns)
    side = _WIDTH // frames
    tall = max(min(round(side * row.pictures[0].shape[0] / row.pictures[0].shape[1]), 2 * side) for row in rows)
    sheet = Image.new("RGB", (_WIDTH * columns, each * (tall + _TEXT + _GAP)), "white")
    file = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    pen, font = ImageDraw.Draw(sheet), ImageFont.truetype(str(file), _FONT)
    for number, row in enumerate(rows):
        left, top = number // each * _WIDTH, number % each * (tall + _TEXT + _GAP)
        text = row.caption.encode(errors="replace").decode().replace("\n", " ")
        pen.text((left + 2, top + 1), text[:_CAPTION], "black", font=font)
        for place, pixels in enumerate(row.pictures):
            height, width = pixels.shape[:2]
            scale = min((side - _GAP) / width, tall / height)
            picture = Image.fromarray(pixels).resize((max(round(width * scale), 1), max(round(height * scale), 1)))
            sheet.paste(picture, (left + place * side, top + _TEXT))
    with files.atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")
