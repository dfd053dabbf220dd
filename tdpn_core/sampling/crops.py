"""Which part of a frame is used: training crops drawn at random, and how much they magnify; no pixel is touched."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tdpn_core.config.schema import SamplingConfig

_FRAME, _DRAWS = 1024, 1000
"""Short side of a frame, and number of training crops drawn to estimate their mean magnification within 1 %."""


class Crop(NamedTuple):
    """A rectangle of a frame, in pixels."""

    top: int
    left: int
    height: int
    width: int


def random_crop(height: int, width: int, side: int, sampling: SamplingConfig, rng: np.random.Generator) -> Crop:
    """Draw the part of a frame that becomes a training clip of `side` x `side` pixels, as `sampling.crop` specifies."""
    draw = _area_crop if sampling.crop == "area" else _jitter_crop
    return draw(height, width, side, sampling, rng)


def random_rectangle(
    height: int,
    width: int,
    areas: tuple[float, float],
    ratios: tuple[float, float],
    rng: np.random.Generator,
) -> Crop | None:
    """Draw a rectangle with random share of the area, aspect ratio (width : height) and position.

    A draw that does not fit the frame is repeated; returns None after ten.
    """
    lowest, highest = (math.log(ratio) for ratio in ratios)
    for _ in range(10):
        area = height * width * rng.uniform(*areas)
        ratio = math.exp(rng.uniform(lowest, highest))
        crop_height, crop_width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < crop_height <= height and 0 < crop_width <= width:
            top, left = rng.integers(height - crop_height + 1), rng.integers(width - crop_width + 1)
            return Crop(int(top), int(left), crop_height, crop_width)
    return None


def _area_crop(height: int, width: int, side: int, sampling: SamplingConfig, rng: np.random.Generator) -> Crop:
    """Draw a rectangle of random area, aspect ratio and position (Szegedy et al., Inception).

    If none fits, take the largest allowed rectangle at the centre.
    """
    crop = random_rectangle(height, width, sampling.crop_area, sampling.crop_ratio, rng)
    if crop is not None:
        return crop
    ratio = min(max(width / height, sampling.crop_ratio[0]), sampling.crop_ratio[1])
    return middle_crop(height, width, min(height, round(width / ratio)), min(width, round(height * ratio)))


def _jitter_crop(height: int, width: int, side: int, sampling: SamplingConfig, rng: np.random.Generator) -> Crop:
    """Draw the square that is `side` pixels wide once the frame's short side has a random length (Simonyan, Zisserman).

    It is cut before the resize, not after: the same pixels to within half a pixel, with less work.
    """
    short = rng.uniform(*sampling.jitter)
    cropped = max(1, min(round(side * min(height, width) / short), height, width))
    top, left = rng.integers(height - cropped + 1), rng.integers(width - cropped + 1)
    return Crop(int(top), int(left), cropped, cropped)


def trained_short_side(sampling: SamplingConfig, input_size: int, aspect: float) -> int:
    """Return the short side, in pixels, of test frames at which objects are as large as in training; >= `input_size`.

    Training crops are resized to `input_size` whatever part of the frame they are. Test frames get the mean
    magnification over these draws, for frames with `aspect` = long / short side (Touvron et al. 2019).
    """
    height, width = _FRAME, round(_FRAME * aspect)
    rng = np.random.default_rng(0)
    crops = [random_crop(height, width, input_size, sampling, rng) for _ in range(_DRAWS)]
    logarithm = float(np.mean([math.log(crop.height * crop.width) / 2 for crop in crops]))
    return max(input_size, round(input_size * height / math.exp(logarithm)))


def middle_crop(height: int, width: int, crop_height: int, crop_width: int) -> Crop:
    """The rectangle of that size in the middle of a frame."""
    return Crop((height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width)


def corner_crops(height: int, width: int, side: int) -> list[Crop]:
    """Return the squares at the four corners and in the middle of a frame.

    Offsets are multiples of a quarter of the margin, rounded down, as in TSN's code and mmaction2: the lower and right
    crops end up to three pixels before the edge.
    """
    top, left = (height - side) // 4, (width - side) // 4
    places = ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2))
    return [Crop(top * down, left * right, side, side) for down, right in places]
