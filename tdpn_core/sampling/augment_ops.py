"""Colour and geometric operations on a clip, each defined once for all of its frames.

Clips are (3, T, H, W) uint8 on any device. Statistics (mean, range, histogram) are taken over the complete clip, so
that a pixel value is mapped to the same value in every frame: per-frame statistics would cause flicker. Definitions
follow Pillow, but results are rounded where Pillow truncates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Operation = Literal[
    "identity",
    "auto_contrast",
    "equalise",
    "rotate",
    "solarise",
    "saturation",
    "posterise",
    "contrast",
    "brightness",
    "sharpness",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "hue",
]

FILL = 128
"""Value of a pixel from outside the frame (Cubuk et al., AutoAugment)."""

_GREY = (19595 / 65536, 38470 / 65536, 7471 / 65536)  # 0.299, 0.587, 0.114; exact in float32, as their sums are


def operate(clip: Tensor, operation: Operation, amount: float) -> Tensor:
    """Apply one operation to `clip`; returns a new tensor, or `clip` itself if nothing changes."""
    return _OPERATIONS[operation](clip, amount)


def brightness(clip: Tensor, factor: float) -> Tensor:
    """Multiply every value by `factor`."""
    return _bytes(clip.float().mul_(factor))


def contrast(clip: Tensor, factor: float) -> Tensor:
    """Scale every value's distance from the clip's mean grey by `factor`."""
    mean = _grey(clip).mean()
    return _bytes(clip.float().sub_(mean).mul_(factor).add_(mean))


def saturation(clip: Tensor, factor: float) -> Tensor:
    """Scale every value's distance from its pixel's grey by `factor`; 0 gives a grey image."""
    grey = _grey(clip)
    return _bytes(clip.float().sub_(grey).mul_(factor).add_(grey))


def hue(clip: Tensor, turn: float) -> Tensor:
    """Rotate the hue by `turn` of the colour circle; HSV's saturation and value are unchanged."""
    red, green, blue = values = clip.float()
    value, low = values.amax(dim=0), values.amin(dim=0)
    chroma = value - low
    safe = chroma.clamp(min=1)  # whole numbers: a chroma is 0 or at least 1
    # in sixths of the circle from red
    sixths = torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    sixths = torch.where(value == red, (green - blue) / safe, sixths) + 6 * turn
    turned = []
    for channel in (5, 3, 1):
        place = (sixths + channel).remainder(6)
        turned.append(value - chroma * torch.minimum(place, 4 - place).clamp(0, 1))
    return _bytes(torch.stack(turned))


def sharpness(clip: Tensor, factor: float) -> Tensor:
    """Scale the difference from a smoothed image by `factor`: below 1 blurs. The outermost pixels are unchanged."""
    values = clip.float()
    inner = values[..., 1:-1, 1:-1]
    of_three = values[..., :-2, :] + values[..., 1:-1, :] + values[..., 2:, :]
    smooth = of_three[..., :-2] + of_three[..., 1:-1] + of_three[..., 2:]
    smooth.add_(inner, alpha=4).div_(13)
    inner.sub_(smooth).mul_(factor).add_(smooth)
    return _bytes(values)


def posterise(clip: Tensor, bits: float) -> Tensor:
    """Keep only the highest `bits` bits of each value."""
    return clip.bitwise_and(256 - 2 ** (8 - int(bits)))


def solarise(clip: Tensor, threshold: float) -> Tensor:
    """Invert values from `threshold` on."""
    inverted: Tensor = (clip >= threshold).to(torch.uint8).neg_()  # 0 or 255
    return inverted.bitwise_xor_(clip)


def auto_contrast(clip: Tensor, _: float = 0) -> Tensor:
    """Stretch each channel to the full range."""
    low = clip.amin(dim=(1, 2, 3), keepdim=True).float()
    span = clip.amax(dim=(1, 2, 3), keepdim=True).float() - low
    stretched = _bytes(clip.float().sub_(low).mul_(255 / span.clamp(min=1)))
    return torch.where(span > 0, stretched, clip)


def equalise(clip: Tensor, _: float = 0) -> Tensor:
    """Flatten each channel's histogram as far as a lookup table can."""
    return torch.stack([_equalised(channel) for channel in clip])


def rotate(clip: Tensor, degrees: float) -> Tensor:
    """Rotate counterclockwise about the centre."""
    height, width = clip.shape[-2:]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = width / 2, height / 2
    return _moved(clip, (cos, -sin, x - cos * x + sin * y), (sin, cos, y - sin * x - cos * y))


def shear_x(clip: Tensor, slope: float) -> Tensor:
    """Move row y to the left by `slope` * y."""
    return _moved(clip, (1, slope, 0), (0, 1, 0))


def shear_y(clip: Tensor, slope: float) -> Tensor:
    """Move column x up by `slope` * x."""
    return _moved(clip, (1, 0, 0), (slope, 1, 0))


def translate_x(clip: Tensor, share: float) -> Tensor:
    """Move to the left by this share of the width."""
    return _moved(clip, (1, 0, share * clip.shape[-1]), (0, 1, 0))


def translate_y(clip: Tensor, share: float) -> Tensor:
    """Move up by this share of the height."""
    return _moved(clip, (1, 0, 0), (0, 1, share * clip.shape[-2]))


_OPERATIONS: dict[Operation, Callable[[Tensor, float], Tensor]] = {
    "identity": lambda clip, _: clip,
    "auto_contrast": auto_contrast,
    "equalise": equalise,
    "rotate": rotate,
    "solarise": solarise,
    "saturation": saturation,
    "posterise": posterise,
    "contrast": contrast,
    "brightness": brightness,
    "sharpness": sharpness,
    "shear_x": shear_x,
    "shear_y": shear_y,
    "translate_x": translate_x,
    "translate_y": translate_y,
    "hue": hue,
}


def _bytes(values: Tensor) -> Tensor:
    """Clamp to 0 .. 255 and round, in place."""
    return values.round_().clamp_(0, 255).to(torch.uint8)


def _grey(clip: Tensor) -> Tensor:
    """Return the luma of every pixel (ITU-R 601), (T, H, W) float32 with integer values."""
    red, green, blue = _GREY
    return (clip[0] * red + clip[1] * green + clip[2] * blue).add_(0.5).floor_()


def _equalised(channel: Tensor) -> Tensor:
    counts = torch.bincount(channel.flatten(), minlength=256)
    last = counts[channel.amax().long()]
    step = (channel.numel() - last) // 255
    below = counts.cumsum(0) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp(max=255).to(torch.uint8)
    table = torch.where(step > 0, table, torch.arange(256, dtype=torch.uint8, device=channel.device))
    return table.index_select(0, channel.flatten().int()).view_as(channel)


def _moved(clip: Tensor, across: tuple[float, float, float], down: tuple[float, float, float]) -> Tensor:
    """Take each pixel (x, y) from (a x + b y + c) of `across` and `down`: the nearest one, or `FILL` outside."""
    height, width = clip.shape[-2:]
    x, y = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5  # pixel centres
    columns = np.floor(across[0] * x + (across[1] * y + across[2])).astype(np.int64)
    rows = np.floor(down[0] * x + (down[1] * y + down[2])).astype(np.int64)
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    places = torch.from_numpy(np.where(inside, rows * width + columns, 0).ravel()).to(clip.device, non_blocking=True)
    moved: Tensor = clip.flatten(-2).index_select(-1, places).view_as(clip)
    return moved.masked_fill_(torch.from_numpy(~inside).to(clip.device, non_blocking=True), FILL)
