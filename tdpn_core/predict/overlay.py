"""`--overlay`: the video itself, with what was named in a strip under the picture."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

from tdpn_core.predict.captions import caption_height, draw_caption, merged, png
from tdpn_core.predict.clip import FileClip
from tdpn_core.predict.ranking import Ranking
from tdpn_core.predict.result import Prediction
from tdpn_core.video.draw import overlay_file, overlay_pictures, shown_size
from tdpn_core.video.program import Program
from tdpn_core.video.source import Source

RATE = 5.0
"""Strips a second: a label changes within 0.2 s of its time."""

_ROWS = 3


def overlay_video(prediction: Prediction, source: Source, out: Path, program: Program) -> None:
    """Write a video file with a prediction under its picture, which keeps its size, and with its sound.

    Raises:
        ClipError: the file cannot be read.
    """
    _, width = shown_size(source.path, program)
    overlay_file(source, _strips(prediction, width), caption_height(width, _ROWS), RATE, out, program)


def overlay_clip(prediction: Prediction, clip: FileClip, out: Path, program: Program) -> None:
    """Write numbered pictures with a prediction under them, at the size of the network's data."""
    width = clip.clip.width
    height = caption_height(width, _ROWS)
    overlay_pictures(clip.items, clip.clip.fps, _strips(prediction, width), height, RATE, out, program)


def _strips(prediction: Prediction, width: int) -> Iterator[bytes]:
    """A strip for each fifth of a second, without end."""
    if prediction.segments is None:
        yield from repeat(_strip(width, merged(list(prediction.heads.values()))))
        return
    nothing = _strip(width, [])
    number = 0
    for segment in prediction.segments:
        while number / RATE < segment.start:
            yield nothing
            number += 1
        strip = _strip(width, merged(list(segment.heads.values())))
        while number / RATE < segment.end:
            yield strip
            number += 1
    yield from repeat(nothing)


def _strip(width: int, ranking: Ranking) -> bytes:
    return png(draw_caption(width, _ROWS, ranking))
