"""Which pixels of a clip's frames are used: decode, crop, resize, flip, normalise.

Every frame of a clip is treated alike, so that no motion appears that was not filmed. Frames are (D, 3, H, W) uint8,
D distinct frames, in the memory order of a decoder (channels last), which is also the fastest to resize; `arrange`
makes the clip (3, T, H, W) of them.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tdpn_core.config.schema import SamplingConfig
from tdpn_core.sampling.clip_source import ClipSource
from tdpn_core.sampling.frame_indices import Indices

_FRAME, _DRAWS = 1024, 1000
"""Short side of a frame, and training crops drawn from it, to find their mean magnification: to within 1 %."""


class Crop(NamedTuple):
    """A rectangle of a frame, in pixels."""

    top: int
    left: int
    height: int
    width: int


def decode(source: ClipSource, clip: int, frames: Indices) -> Tensor:
    """Decode `frames` (D,) of a clip, shape (D, 3, H, W) uint8.

    Raises:
        ClipError: a frame cannot be decoded, or is not of the clip's size.
    """
    return torch.from_numpy(source.decode(clip, frames.tolist())).permute(0, 3, 1, 2)


def random_crop(height: int, width: int, side: int, sampling: SamplingConfig, rng: np.random.Generator) -> Crop:
    """The part of a frame that becomes a training clip of `side` x `side` pixels, as `sampling.crop` says."""
    draw = _area_crop if sampling.crop == "area" else _jitter_crop
    return draw(height, width, side, sampling, rng)


def random_rectangle(
    height: int,
    width: int,
    areas: tuple[float, float],
    ratios: tuple[float, float],
    rng: np.random.Generator,
) -> Crop | None:
    """A rectangle of random share of the area, width : height and place.

    A draw that does not fit the frame is repeated; None after ten.
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
    """A rectangle of random area, shape and place (Szegedy et al., Inception).

    Where none fits, the largest allowed rectangle in the middle.
    """
    crop = random_rectangle(height, width, sampling.crop_area, sampling.crop_ratio, rng)
    if crop is not None:
        return crop
    ratio = min(max(width / height, sampling.crop_ratio[0]), sampling.crop_ratio[1])
    return _middle(height, width, min(height, round(width / ratio)), min(width, round(height * ratio)))


def _jitter_crop(height: int, width: int, side: int, sampling: SamplingConfig, rng: np.random.Generator) -> Crop:
    """The square that is `side` pixels wide once the frame's short side has a random length (Simonyan, Zisserman).

    It is cut out before the resize, not after: the same pixels to within half of one, and less work.
    """
    short = rng.uniform(*sampling.jitter)
    cropped = max(1, min(round(side * min(height, width) / short), height, width))
    top, left = rng.integers(height - cropped + 1), rng.integers(width - cropped + 1)
    return Crop(int(top), int(left), cropped, cropped)


def cut(frames: Tensor, crop: Crop) -> Tensor:
    """The part `crop` of every frame; a view, nothing is copied."""
    return frames[:, :, crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]


def resize(frames: Tensor, height: int, width: int) -> Tensor:
    """Frames at another size: bilinear, with a low-pass where it shrinks."""
    if frames.shape[2:] == (height, width):
        return frames
    return F.interpolate(frames, (height, width), mode="bilinear", antialias=True)


def view_crops(frames: Tensor, crops: int, sampling: SamplingConfig, input_size: int) -> list[Tensor]:
    """The test crops of every frame, each (D, 3, S, S), from frames resized to `short_side`.

    One crop: S = `input_size`, in the middle. Three: S = `short_side` or `input_size`, as `side_crops` says, at the
    start, middle and end of the longer side, in the middle of the other. Frames of a shorter side are enlarged.
    """
    published = crops == 3 and sampling.side_crops == "short_side"
    side = sampling.short_side if published else input_size
    frames = _of_short_side(frames, max(sampling.short_side, side))
    height, width = frames.shape[2:]
    if crops == 1:
        return [cut(frames, _middle(height, width, side, side))]
    top, left = height - side, width - side
    if width >= height:
        return [cut(frames, Crop(top // 2, int(left * place), side, side)) for place in (0.0, 0.5, 1.0)]
    return [cut(frames, Crop(int(top * place), left // 2, side, side)) for place in (0.0, 0.5, 1.0)]


def trained_short_side(sampling: SamplingConfig, input_size: int, aspect: float) -> int:
    """The short side of test frames at which things are as large as in training, in pixels, at least `input_size`.

    Training crops are resized to `input_size`, whatever part of the frame they are: the mean magnification over
    their draws, of frames of the ratio `aspect` of long to short side, is what a test frame gets (Touvron et al. 2019).
    """
    height, width = _FRAME, round(_FRAME * aspect)
    rng = np.random.default_rng(0)
    crops = [random_crop(height, width, input_size, sampling, rng) for _ in range(_DRAWS)]
    logarithm = float(np.mean([math.log(crop.height * crop.width) / 2 for crop in crops]))
    return max(input_size, round(input_size * height / math.exp(logarithm)))


def whole(frames: Tensor, sampling: SamplingConfig, input_size: int) -> Tensor:
    """Whole frames (D, 3, H, W) of the short side that a centre crop is cut from, for a network that takes any size."""
    return _of_short_side(frames, max(sampling.short_side, input_size))


def arrange(frames: Tensor, order: Indices, *, flip: bool = False, out: Tensor | None = None) -> Tensor:
    """A contiguous clip (C, T, H, W): frame t is `frames[order[t]]`, mirrored with `flip`; in `out` if given."""
    if flip:
        frames = mirror(frames)
    return torch.index_select(frames.permute(1, 0, 2, 3), 1, torch.from_numpy(order), out=out)


def mirror(frames: Tensor) -> Tensor:
    """Frames (D, C, H, W) flipped left to right. Of optical flow (C = 2) what went right goes left: u is negated."""
    flipped = frames.flip(-1)
    if frames.shape[1] == 2:
        flipped[:, 0] = 255 - flipped[:, 0]
    return flipped


def normalise(clips: Tensor, sampling: SamplingConfig) -> Tensor:
    """Clips (..., C, T, H, W) uint8 as float32 of mean 0 and deviation 1, on the device where they are.

    C is 3, or 2 of optical flow, for which the first two values of mean and deviation count.
    """
    channels = clips.shape[-4]
    mean = _on_device(sampling.mean[:channels], clips.device, torch.get_default_dtype())
    std = _on_device(sampling.std[:channels], clips.device, torch.get_default_dtype())
    return clips.to(torch.float32).sub_(255 * mean).div_(255 * std)


@lru_cache(maxsize=16)
def _on_device(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """(C, 1, 1, 1) constants, copied to a device once: each such copy waits for all that the device has to do."""
    with torch.inference_mode(False):  # for training and evaluation alike
        return torch.tensor(values, device=device, dtype=dtype).view(-1, 1, 1, 1)


def _of_short_side(frames: Tensor, short: int) -> Tensor:
    height, width = frames.shape[2:]
    scale = short / min(height, width)
    return resize(frames, max(short, round(height * scale)), max(short, round(width * scale)))


def _middle(height: int, width: int, crop_height: int, crop_width: int) -> Crop:
    return Crop((height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width)
