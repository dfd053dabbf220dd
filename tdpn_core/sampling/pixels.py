"""Which pixels of a clip's frames are used: decode, crop, resize, flip, normalise.

Every frame of a clip is treated alike, so that no motion appears that was not filmed. Frames are (D, 3, H, W) uint8,
D distinct frames, in the memory order of a decoder (channels last), which is also the fastest to resize; `arrange`
makes the clip (3, T, H, W) of them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import simplejpeg
import torch
from torch import Tensor
from torch.nn import functional as F

from tdpn_core.config import SamplingConfig
from tdpn_core.errors import ClipError
from tdpn_core.sampling.indices import Indices
from tdpn_core.sampling.source import ClipSource


class Crop(NamedTuple):
    """A rectangle of a frame, in pixels."""

    top: int
    left: int
    height: int
    width: int


def decode(source: ClipSource, clip: int, frames: Indices) -> Tensor:
    """Decode `frames` (D,) of a clip, shape (D, 3, H, W) uint8.

    Raises:
        ClipError: a frame is not a whole JPEG of the clip's size.
    """
    height, width = source.size(clip)
    pixels = np.empty((len(frames), height, width, 3), np.uint8)
    numbers = frames.tolist()
    for number, jpeg, target in zip(numbers, source.read(clip, numbers), pixels, strict=True):
        try:
            shape = simplejpeg.decode_jpeg(jpeg, colorspace="RGB", buffer=target).shape
        except ValueError as error:
            raise ClipError(f"frame {number} cannot be decoded ({error})", where=source.ids[clip]) from error
        if shape != target.shape:
            what = f"frame {number} is {shape[1]}x{shape[0]}, the clip {width}x{height}"
            raise ClipError(what, where=source.ids[clip])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def random_crop(height: int, width: int, sampling: SamplingConfig, rng: np.random.Generator) -> Crop:
    """A rectangle of random area, shape and place (Szegedy et al., Inception).

    A draw that does not fit the frame is repeated; after ten, the largest allowed rectangle in the middle.
    """
    lowest, highest = (math.log(ratio) for ratio in sampling.crop_ratio)
    for _ in range(10):
        area = height * width * rng.uniform(*sampling.crop_area)
        ratio = math.exp(rng.uniform(lowest, highest))
        crop_height, crop_width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < crop_height <= height and 0 < crop_width <= width:
            top, left = rng.integers(height - crop_height + 1), rng.integers(width - crop_width + 1)
            return Crop(int(top), int(left), crop_height, crop_width)
    ratio = min(max(width / height, sampling.crop_ratio[0]), sampling.crop_ratio[1])
    return _middle(height, width, min(height, round(width / ratio)), min(width, round(height * ratio)))


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

    One crop: S = `input_size`, in the middle. Three: S = `short_side`, at the start, middle and end of the longer side.
    Frames of a shorter side are enlarged.
    """
    height, width = frames.shape[2:]
    short = sampling.short_side if crops == 3 else max(sampling.short_side, input_size)
    scale = short / min(height, width)
    frames = resize(frames, max(short, round(height * scale)), max(short, round(width * scale)))
    height, width = frames.shape[2:]
    if crops == 1:
        return [cut(frames, _middle(height, width, input_size, input_size))]
    places = [0.0, 0.5, 1.0]
    return [cut(frames, Crop(int((height - short) * p), int((width - short) * p), short, short)) for p in places]


def arrange(frames: Tensor, order: Indices, *, flip: bool = False, out: Tensor | None = None) -> Tensor:
    """A contiguous clip (3, T, H, W): frame t is `frames[order[t]]`, mirrored with `flip`; in `out` if given."""
    if flip:
        frames = frames.flip(-1)
    return torch.index_select(frames.permute(1, 0, 2, 3), 1, torch.from_numpy(order), out=out)


def normalise(clips: Tensor, sampling: SamplingConfig) -> Tensor:
    """Clips (..., 3, T, H, W) uint8 as float32 of mean 0 and deviation 1, on the device where they are."""
    mean = torch.tensor(sampling.mean, device=clips.device).view(3, 1, 1, 1)
    std = torch.tensor(sampling.std, device=clips.device).view(3, 1, 1, 1)
    return clips.to(torch.float32).sub_(255 * mean).div_(255 * std)


def _middle(height: int, width: int, crop_height: int, crop_width: int) -> Crop:
    return Crop((height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width)
