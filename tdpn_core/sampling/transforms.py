"""Which pixels of a clip's frames are used: decode, crop, resize, flip, normalise.

Every frame of a clip is treated alike, so that no motion appears that was not filmed. Frames are (D, 3, H, W) uint8,
D distinct frames, in the memory order of a decoder (channels last), which is also the fastest to resize; `arrange`
makes the clip (3, T, H, W) of them.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from tdpn_core.config.schema import SamplingConfig
from tdpn_core.sampling.clip_source import ClipSource
from tdpn_core.sampling.crops import Crop, middle_crop
from tdpn_core.sampling.frame_indices import Indices


def decode(source: ClipSource, clip: int, frames: Indices) -> Tensor:
    """Decode `frames` (D,) of a clip, shape (D, 3, H, W) uint8.

    Raises:
        ClipError: a frame cannot be decoded, or is not of the clip's size.
    """
    return torch.from_numpy(source.decode(clip, frames.tolist())).permute(0, 3, 1, 2)


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
        return [cut(frames, middle_crop(height, width, side, side))]
    top, left = height - side, width - side
    if width >= height:
        return [cut(frames, Crop(top // 2, int(left * place), side, side)) for place in (0.0, 0.5, 1.0)]
    return [cut(frames, Crop(int(top * place), left // 2, side, side)) for place in (0.0, 0.5, 1.0)]


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
