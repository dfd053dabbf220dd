"""Describe the appearance of clips in a few bytes, to find copies in another container, size or quality.

A look consists of `FRAMES` frames, evenly spaced, each as mean brightness of `CELLS` x `CELLS` cells. Two clips are
alike if they have the same length, to about one frame, and agree in the static part (the mean over time) and the moving
part (the rest): two takes in one room with one camera agree in the first and differ in the second.

The bounds come from 246 copies of 41 clips (other codecs, half the size, mirrored). The static part differs by at most
6 %, and the moving part, except for one clip of hardly any motion, by 20 %. The moving part of takes of one action by
one person differs by 10 % and more, and their length by more than a frame.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from tdpn_core.errors import ClipError
from tdpn_core.shards.format import Packing
from tdpn_core.shards.writer import PackedClip

FRAMES = 4
CELLS = 8

_LEAST = 4.0  # standard deviation over all cells; below it, the picture is plain and not distinctive
_STAYS, _MOVES = 0.1, 0.22  # difference between two clips relative to each one's deviation
_NOISE_STAYS, _NOISE_MOVES = 1.0, 0.75  # changes due to compression, in levels
_STEPS, _SECONDS = 1.25, 0.15  # difference in length: frames of the lower rate, but not more than these seconds
_ROWS, _COLUMNS = 1024, 8192  # of the distance table kept in memory at a time
_PIECE = 65_536
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class Alike(NamedTuple):
    """Two clips that look alike, by position in the list."""

    one: int
    other: int
    mirrored: bool


def visual_digest(clip: PackedClip, packing: Packing) -> str:
    """Return the look of an encoded clip as base64; empty if its frames are plain or cannot be read.

    For optical flow, the vertical component is used, which mirroring does not change.
    """
    chosen = [int((number + 0.5) * clip.frames / FRAMES) for number in range(FRAMES)]
    try:
        cells = np.stack([_cells(picture) for picture in _pictures(clip, packing, chosen)])
    except (ClipError, ValueError, OSError):
        return ""
    if cells.std() < _LEAST:
        return ""
    return base64.b64encode(np.rint(cells).astype(np.uint8).tobytes()).decode()


def _pictures(clip: PackedClip, packing: Packing, frames: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
    """Yield (H, W) grey pictures."""
    if packing == "video":
        from tdpn_core.video.packed_decoder import decode_stored  # decord is not needed for other packings

        for picture in decode_stored(clip.items.read_bytes(), frames, clip.height, clip.width):
            yield (picture @ _LUMA).astype(np.uint8)
        return
    starts = np.concatenate(([0], np.cumsum(clip.sizes)))
    with clip.items.open("rb") as items:
        for frame in frames:
            item = 2 * frame + 1 if packing == "flow" else frame
            items.seek(int(starts[item]))
            content = items.read(int(clip.sizes[item]))
            yield simplejpeg.decode_jpeg(content, "GRAY", min_height=8 * CELLS, min_width=8 * CELLS)[..., 0]


def _cells(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return (CELLS, CELLS) means of equal parts of a picture (H, W)."""
    height, width = picture.shape
    if min(height, width) < CELLS:
        raise ValueError("the picture is smaller than its cells")
    return _shares(height) @ picture.astype(np.float64) @ _shares(width).T


@lru_cache(maxsize=64)
def _shares(size: int) -> NDArray[np.float64]:
    """Return the share (CELLS, size) of each pixel in `CELLS` equal parts, which may cut pixels."""
    borders, pixels = np.linspace(0, size, CELLS + 1), np.arange(size)
    inside = np.minimum(borders[1:, None], pixels + 1) - np.maximum(borders[:-1, None], pixels)
    shares: NDArray[np.float64] = np.clip(inside, 0, 1) * CELLS / size
    return shares


def find_alike(looks: Sequence[str], seconds: Sequence[float], frames: Sequence[int]) -> list[Alike]:
    """Find all pairs of clips that look alike, unchanged or mirrored.

    Args:
        looks: results of `visual_digest`; an empty one matches no other.
        seconds: length of each clip.
        frames: number of frames of each clip.
    """
    size = FRAMES * CELLS * CELLS
    raw = [base64.b64decode(look) for look in looks]
    rows = np.array([row for row, content in enumerate(raw) if len(content) == size], np.intp)
    if len(rows) < 2:
        return []
    lengths = np.asarray(seconds, np.float64)[rows]
    order = np.argsort(lengths, kind="stable")
    rows, lengths = rows[order], lengths[order]
    slack = np.minimum(_STEPS * lengths / np.maximum(np.asarray(frames)[rows], 1), _SECONDS)
    cells = np.frombuffer(b"".join(raw[row] for row in rows), np.uint8).reshape(-1, FRAMES, CELLS, CELLS)
    found: dict[tuple[int, int], bool] = {}
    for mirrored in (False, True):
        for one, other in _close(cells, lengths, slack, mirrored):
            pair = sorted((int(rows[one]), int(rows[other])))
            found.setdefault((pair[0], pair[1]), mirrored)
    return sorted(Alike(one, other, mirrored) for (one, other), mirrored in found.items())


def _close(
    cells: NDArray[np.uint8], lengths: NDArray[np.float64], slack: NDArray[np.float64], mirrored: bool
) -> Iterator[tuple[int, int]]:
    """Yield pairs of looks (N, FRAMES, CELLS, CELLS), sorted by length, that pass all tests."""
    reach = np.searchsorted(lengths, lengths + _SECONDS, "right")
    left, right = _coarse(cells, mirrored)
    for begin in range(0, len(cells), _ROWS):
        end = min(begin + _ROWS, len(cells))
        for start in range(begin, int(reach[end - 1]), _COLUMNS):
            stop = min(start + _COLUMNS, int(reach[end - 1]))
            one, other = np.nonzero(left[begin:end] @ right[start:stop].T <= 0)
            one, other = one + begin, other + start
            longer = lengths[other] - lengths[one]
            wanted = (one < other) & (longer <= np.maximum(slack[one], slack[other]))
            one, other = one[wanted], other[wanted]
            for piece in range(0, len(one), _PIECE):
                some, others = one[piece : piece + _PIECE], other[piece : piece + _PIECE]
                kept = _agree(cells[some], cells[others][..., ::-1] if mirrored else cells[others])
                yield from zip(some[kept].tolist(), others[kept].tolist(), strict=True)


def _coarse(cells: NDArray[np.uint8], mirrored: bool) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return two tables whose product is positive only for pairs that cannot agree, from a quarter of the cells.

    Means of 2 x 2 cells differ by at most as much as the cells, so no pair is missed.
    """
    halves = cells.reshape(len(cells), FRAMES, CELLS // 2, 2, CELLS // 2, 2).mean(axis=(3, 5), dtype=np.float32)
    values = (halves - halves.mean(axis=(1, 2, 3), keepdims=True)) / np.sqrt(halves[0].size)
    stays, moves = _parts(cells)
    bound = (_bound(stays, _STAYS, _NOISE_STAYS) + _bound(moves, _MOVES, _NOISE_MOVES)).astype(np.float32)
    other = values[..., ::-1] if mirrored else values
    values, other = values.reshape(len(cells), -1), other.reshape(len(cells), -1)
    free = ((values**2).sum(axis=1) - bound)[:, None]
    ones = np.ones_like(free)
    return np.hstack([-2 * values, free, ones]), np.hstack([other, ones, free])


def _parts(cells: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the static part (N, CELLS * CELLS) without its mean, and the moving part (N, FRAMES * CELLS * CELLS)."""
    values = cells.astype(np.float32)
    mean = values.mean(axis=1, keepdims=True)
    stays = mean - mean.mean(axis=(2, 3), keepdims=True)
    return stays.reshape(len(cells), -1), (values - mean).reshape(len(cells), -1)


def _bound(part: NDArray[np.float32], share: float, noise: float) -> NDArray[np.float32]:
    """Return (N,) mean squares by which another clip's part may differ."""
    bound: NDArray[np.float32] = np.maximum(share**2 * (part**2).mean(axis=1), noise**2)
    return bound


def _agree(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return (N,) whether looks (N, FRAMES, CELLS, CELLS) agree in both parts."""
    verdict = np.ones(len(one), bool)
    parts = zip(_parts(one), _parts(other), ((_STAYS, _NOISE_STAYS), (_MOVES, _NOISE_MOVES)), strict=True)
    for first, second, (share, noise) in parts:
        allowed = np.maximum(_bound(first, share, noise), _bound(second, share, noise))
        verdict &= ((first - second) ** 2).mean(axis=1) <= allowed
    return verdict
