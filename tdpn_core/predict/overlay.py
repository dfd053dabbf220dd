"""`--overlay`: the video itself, with what was named drawn into it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

from tdpn_core.predict.captions import draw_caption, merged, png
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
    """Draw a prediction into a video file, at its own size and with its sound.

    Raises:
        ClipError: the file cannot be read.
    """
    _, width = shown_size(source.path, program)
    overlay_file(source, _strips(prediction, width), RATE, out, program)


def overlay_clip(prediction: Prediction, clip: FileClip, out: Path, program: Program) -> None:
    """Draw a prediction into numbered pictures, at the size in which the network's data was prepared."""
    strips = _strips(prediction, clip.clip.width)
    overlay_pictures(clip.items, clip.clip.fps, strips, RATE, out, program)


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
