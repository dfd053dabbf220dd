"""Augmentations of complete clips on the device: colour jitter, RandAugment, random erasing.

They run on the network's device, on the batch of uint8 clips, not in the workers that decode: on a CPU core they take
as long as decoding the clip (measured). Draws depend only on (seed, visit, clip); all frames of a clip share them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tdpn_core.config.schema import SamplingConfig
from tdpn_core.rng import derive
from tdpn_core.sampling.augment_ops import Operation, operate
from tdpn_core.sampling.crops import Crop, random_rectangle

MAGNITUDES = 30
"""RandAugment's largest magnitude; the strength rises linearly with the magnitude."""

RANDAUGMENT: tuple[Operation, ...] = (
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
)
"""Operations that RandAugment draws from (Cubuk et al. 2020)."""

_PATH = 1  # ends the path of a derived generator: frames and crops are drawn from (seed, epoch, clip) itself
_ERASED_RATIO = (0.3, 1 / 0.3)


class Change(NamedTuple):
    """An operation and its strength, in its own unit."""

    operation: Operation
    amount: float


class Erasing(NamedTuple):
    """A rectangle and the noise that replaces it."""

    place: Crop
    noise: Tensor
    """uint8 (3, 1, height, width): the same noise for all frames, since changing noise looks like motion."""


def augment(
    clips: Tensor, numbers: Sequence[int], visits: int | Sequence[int], sampling: SamplingConfig, seed: int
) -> Tensor:
    """Apply the augmentations of `sampling` to training clips (N, 3, T, H, W) uint8, with separate draws per clip.

    `numbers` (N,) are the clips' numbers in the source, `visits` how often each (or all) was seen before. If all
    augmentations are off, `clips` itself is returned.
    """
    if not (any(sampling.colour) or sampling.randaugment or sampling.erasing):
        return clips
    augmented = []
    each = [visits] * len(numbers) if isinstance(visits, int) else visits
    for clip, number, visit in zip(clips, numbers, each, strict=True):
        rng = derive(seed, visit, number, _PATH)
        for operation, amount in [*colour_jitter(sampling, rng), *randaugment(sampling, rng)]:
            clip = operate(clip, operation, amount)
        height, width = clip.shape[-2:]
        erasing = random_erasing(height, width, sampling, rng)
        augmented.append(erase(clip, erasing) if erasing else clip)
    return torch.stack(augmented)


def colour_jitter(sampling: SamplingConfig, rng: np.random.Generator) -> list[Change]:
    """Draw factors uniformly around 1 and a hue rotation around 0, in random order (Howard 2013)."""
    operations: tuple[Operation, ...] = ("brightness", "contrast", "saturation", "hue")
    changes = []
    for operation, strength in zip(operations, sampling.colour, strict=True):
        middle = 0.0 if operation == "hue" else 1.0
        if strength > 0:
            changes.append(Change(operation, float(rng.uniform(middle - strength, middle + strength))))
    return [changes[place] for place in rng.permutation(len(changes))]


def randaugment(sampling: SamplingConfig, rng: np.random.Generator) -> list[Change]:
    """Draw operations uniformly with repetition, all of one magnitude, with a random sign where it applies."""
    return [
        Change(operation := RANDAUGMENT[int(rng.integers(len(RANDAUGMENT)))], _amount(operation, sampling, rng))
        for _ in range(sampling.randaugment)
    ]


def random_erasing(height: int, width: int, sampling: SamplingConfig, rng: np.random.Generator) -> Erasing | None:
    """Draw a rectangle of uniform noise with probability `erasing` (Zhong et al. 2020); None if none is drawn."""
    if rng.random() >= sampling.erasing:
        return None
    place = random_rectangle(height, width, sampling.erasing_area, _ERASED_RATIO, rng)
    if place is None:
        return None
    noise = rng.integers(0, 256, (3, 1, place.height, place.width), np.uint8)
    return Erasing(place, torch.from_numpy(noise))


def erase(clip: Tensor, erasing: Erasing) -> Tensor:
    """Return a copy of `clip` (3, T, H, W) with the same rectangle replaced in every frame."""
    top, left, height, width = erasing.place
    clip = clip.clone()
    clip[..., top : top + height, left : left + width] = erasing.noise.to(clip.device, non_blocking=True)
    return clip


def _amount(operation: Operation, sampling: SamplingConfig, rng: np.random.Generator) -> float:
    """Return the strength of an operation at the configured magnitude, in AutoAugment's ranges."""
    level = sampling.randaugment_magnitude / MAGNITUDES
    sign = 1 if rng.random() < 0.5 else -1
    match operation:
        case "shear_x" | "shear_y":
            return sign * 0.3 * level
        case "translate_x" | "translate_y":
            return sign * 150 / 331 * level  # 150 pixels of AutoAugment's 331
        case "rotate":
            return sign * 30 * level
        case "saturation" | "contrast" | "brightness" | "sharpness":
            return 1 + sign * 0.9 * level
        case "posterise":
            return 8 - round(4 * level)
        case "solarise":
            return 255 * (1 - level)
        case _:
            return 0.0
