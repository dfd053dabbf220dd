"""Draw labels, bars and scales as strips above and below a picture."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tdpn_core.prediction.results import Prediction, Ranking
from tdpn_core.shards.file_clip import FileClip
from tdpn_core.video.ffmpeg_binary import Program
from tdpn_core.video.source import Source
from tdpn_core.video.writer import overlay_file, overlay_pictures, shown_size

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

    from tdpn_core.prediction.results import Ranking

_PAPER, _INK, _BAR, _SECOND = (12, 14, 18), (255, 255, 255), (64, 150, 255), (170, 180, 190)


def caption_height(width: int, rows: int) -> int:
    """Return the height in pixels, even, of a strip with `rows` rows for a picture of `width`."""
    return (rows * _row(width) + _row(width) // 2) // 2 * 2


def draw_caption(width: int, rows: int, ranking: Ranking) -> Image:
    """Draw the most likely classes with a bar each, as RGB; an empty ranking gives an empty strip."""
    from PIL import Image, ImageDraw

    height = caption_height(width, rows)
    strip = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(strip)
    row, margin = _row(width), _row(width) // 3
    font = _font(round(row * 0.62))
    shown = ranking[:rows]
    bar_left = width - margin - round(width * 0.28)
    for place, (name, probability) in enumerate(shown):
        top = row // 4 + place * row
        text = fitted(name, font, bar_left - 2 * margin)
        draw.text((margin, top + row * 0.12), text, font=font, fill=_INK if place == 0 else _SECOND)
        length = width - margin - bar_left
        box = (bar_left, top + round(row * 0.2), bar_left + length, top + round(row * 0.8))
        draw.rectangle(box, outline=_SECOND)
        draw.rectangle((*box[:2], bar_left + round(length * probability), box[3]), fill=_BAR if place == 0 else _SECOND)
        draw.text(
            (bar_left + row * 0.2, top + row * 0.16), f"{probability:.0%}", font=_font(round(row * 0.5)), fill=_INK
        )
    return strip


def draw_title(width: int, height: int, text: str) -> Image:
    """Draw a line of text on a dark background, (height x width) RGB."""
    from PIL import Image, ImageDraw

    strip = Image.new("RGB", (width, height), _PAPER)
    font = _font(round(height * 0.6))
    ImageDraw.Draw(strip).text((height * 0.3, height * 0.14), fitted(text, font, width - height * 0.6), font=font)
    return strip


def draw_scale(width: int, height: int, colours: npt.NDArray[np.floating], low: str, high: str) -> Image:
    """Draw a scale of colours (K, 3), lowest first, with labels at its ends, (height x width) RGB."""
    from PIL import Image, ImageDraw

    strip = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(strip)
    font, margin = _font(round(height * 0.5)), round(height * 0.3)
    left = margin + round(font.getlength(low)) + margin
    right = max(left + 1, width - 2 * margin - round(font.getlength(high)))
    for column in range(left, right):
        place = (column - left) * (len(colours) - 1) // max(1, right - left - 1)
        red, green, blue = (round(float(value)) for value in colours[place])
        draw.line((column, height * 0.25, column, height * 0.75), fill=(red, green, blue))
    draw.text((margin, height * 0.2), low, font=font, fill=_INK)
    draw.text((right + margin, height * 0.2), high, font=font, fill=_INK)
    return strip


def png(strip: Image) -> bytes:
    """Encode a strip as PNG."""
    content = io.BytesIO()
    strip.save(content, "PNG", compress_level=1)
    return content.getvalue()


def fitted(text: str, font: FreeTypeFont, width: float) -> str:
    """Return `text`, truncated with an ellipsis to `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def merged(rankings: Sequence[Ranking]) -> Ranking:
    """Return the ranking to draw from several heads: actions for verb, noun and action, else the only head."""
    return rankings[-1] if rankings else []


def _row(width: int) -> int:
    return max(14, round(width / 22))


@lru_cache(maxsize=16)
def _font(size: int) -> FreeTypeFont:
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), max(size, 8))


RATE = 5.0
"""Strips per second: a label changes within 0.2 s of its time."""

_ROWS = 3


def overlay_video(prediction: Prediction, source: Source, out: Path, program: Program) -> None:
    """Write a video file with a prediction below its picture, which keeps its size and sound.

    Raises:
        ClipError: the file cannot be read.
    """
    _, width = shown_size(source.path, program)
    overlay_file(source, _strips(prediction, width), caption_height(width, _ROWS), RATE, out, program)


def overlay_clip(prediction: Prediction, clip: FileClip, out: Path, program: Program) -> None:
    """Write numbered pictures with a prediction below them, at the size of the network's data."""
    width = clip.clip.width
    height = caption_height(width, _ROWS)
    overlay_pictures(clip.items, clip.clip.fps, _strips(prediction, width), height, RATE, out, program)


def _strips(prediction: Prediction, width: int) -> Iterator[bytes]:
    """Yield a strip for each fifth of a second, endlessly."""
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
