"""Select and transform the pixels of a clip: decode, crop, resize, flip, normalise.

All frames of a clip are transformed alike, so that no artificial motion appears. Frames are (D, 3, H, W) uint8, D
distinct frames, in the decoder's memory order (channels last), which is also the fastest to resize; `arrange` turns
them into the clip (3, T, H, W).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from tdpn_core.config.schema import SamplingConfig
from tdpn_core.sampling.clip_source import ClipSource
from tdpn_core.sampling.crops import Crop, corner_crops, middle_crop
from tdpn_core.sampling.frame_indices import Indices


def decode(source: ClipSource, clip: int, frames: Indices) -> Tensor:
    """Decode `frames` (D,) of a clip, shape (D, 3, H, W) uint8.

    Raises:
        ClipError: a frame cannot be decoded, or does not have the clip's size.
    """
    return torch.from_numpy(source.decode(clip, frames.tolist())).permute(0, 3, 1, 2)


def cut(frames: Tensor, crop: Crop) -> Tensor:
    """Return the part `crop` of every frame as a view."""
    return frames[:, :, crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]


def resize(frames: Tensor, height: int, width: int) -> Tensor:
    """Resize frames bilinearly, with a low-pass filter when shrinking."""
    if frames.shape[2:] == (height, width):
        return frames
    return F.interpolate(frames, (height, width), mode="bilinear", antialias=True)


def view_crops(frames: Tensor, crops: int, sampling: SamplingConfig, input_size: int) -> list[Tensor]:
    """Return the test crops of every frame, each (D, 3, S, S), from frames resized to `short_side`.

    One crop: S = `input_size`, at the centre. Three: S = `short_side` or `input_size`, depending on `side_crops`, at
    the start, centre and end of the longer side, centred on the other. Ten: S = `input_size`, at the four corners and
    the centre, each followed by its mirror image. Smaller frames are enlarged.
    """
    published = crops == 3 and sampling.side_crops == "short_side"
    side = sampling.short_side if published else input_size
    frames = _of_short_side(frames, max(sampling.short_side, side))
    height, width = frames.shape[2:]
    if crops == 1:
        return [cut(frames, middle_crop(height, width, side, side))]
    if crops == 10:
        parts = [cut(frames, crop) for crop in corner_crops(height, width, side)]
        return [view for part in parts for view in (part, mirror(part))]
    top, left = height - side, width - side
    if width >= height:
        return [cut(frames, Crop(top // 2, int(left * place), side, side)) for place in (0.0, 0.5, 1.0)]
    return [cut(frames, Crop(int(top * place), left // 2, side, side)) for place in (0.0, 0.5, 1.0)]


def whole(frames: Tensor, sampling: SamplingConfig, input_size: int) -> Tensor:
    """Resize full frames (D, 3, H, W) to the short side from which a centre crop is cut, without cropping."""
    return _of_short_side(frames, max(sampling.short_side, input_size))


def arrange(frames: Tensor, order: Indices, *, flip: bool = False, out: Tensor | None = None) -> Tensor:
    """Return a contiguous clip (C, T, H, W): frame t is `frames[order[t]]`, mirrored if `flip`; in `out` if given."""
    if flip:
        frames = mirror(frames)
    return torch.index_select(frames.permute(1, 0, 2, 3), 1, torch.from_numpy(order), out=out)


def mirror(frames: Tensor) -> Tensor:
    """Flip frames (D, C, H, W) left to right. For optical flow (C = 2), also negate u, the horizontal component."""
    flipped = frames.flip(-1)
    if frames.shape[1] == 2:
        flipped[:, 0] = 255 - flipped[:, 0]
    return flipped


def normalise(clips: Tensor, sampling: SamplingConfig) -> Tensor:
    """Convert clips (..., C, T, H, W) from uint8 to float32 with mean 0 and standard deviation 1, on their device.

    C is 3, or 2 for optical flow, which uses the first two values of mean and standard deviation.
    """
    channels = clips.shape[-4]
    constant = _constant if torch.compiler.is_compiling() else _cached  # what is made while tracing has no values
    mean = constant(sampling.mean[:channels], clips.device, torch.get_default_dtype())
    std = constant(sampling.std[:channels], clips.device, torch.get_default_dtype())
    return clips.to(torch.float32).sub_(255 * mean).div_(255 * std)


@lru_cache(maxsize=16)
def _cached(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return `_constant`, cached: each copy to a GPU waits for its pending work."""
    return _constant(values, device, dtype)


def _constant(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return constants (C, 1, 1, 1) on the device."""
    with torch.inference_mode(False):  # for training and evaluation alike
        return torch.tensor(values, device=device, dtype=dtype).view(-1, 1, 1, 1)


def _of_short_side(frames: Tensor, short: int) -> Tensor:
    height, width = frames.shape[2:]
    scale = short / min(height, width)
    return resize(frames, max(short, round(height * scale)), max(short, round(width * scale)))
