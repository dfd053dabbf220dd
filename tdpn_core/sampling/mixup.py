"""Mixup and cutmix on the device: combine each clip of a batch, and its loss, with another clip."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tdpn_core.config.schema import SamplingConfig
from tdpn_core.sampling.crops import Crop


class Mix(NamedTuple):
    """Random choices for one batch."""

    share: float
    """Weight of each clip itself, in pixels and in the loss; its partner has the rest."""

    partners: Tensor
    """int64 (N,): position in the batch of each clip's partner."""

    box: Crop | None
    """Cutmix: the part of every frame taken from the partner. None for mixup: a weighted sum of all pixels."""

    def clips(self, clips: Tensor) -> Tensor:
        """Return the mixed clips (N, 3, T, H, W) as a new tensor; `clips` are normalised."""
        others = clips[self.partners.to(clips.device, non_blocking=True)]
        if self.box is None:
            return torch.lerp(others, clips, self.share)
        top, left, height, width = self.box
        rows, columns = slice(top, top + height), slice(left, left + width)
        joined = clips.clone()
        joined[..., rows, columns] = others[..., rows, columns]
        return joined

    def partners_labels(self, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the partners' labels for each head, (N,)."""
        return {head: values[self.partners.to(values.device, non_blocking=True)] for head, values in labels.items()}


def draw_mix(count: int, height: int, width: int, sampling: SamplingConfig, rng: np.random.Generator) -> Mix | None:
    """Draw how the `count` clips of a batch are mixed; None if both are off. If both are on, choose one at random.

    Mixup (Zhang et al. 2018): weight from Beta(`mixup`, `mixup`). Cutmix (Yun et al. 2019): a box with one minus such
    a weight as its share of the area, at a uniformly drawn centre, clipped at the edges; the weight is the remaining
    area.
    """
    if sampling.mixup <= 0 and sampling.cutmix <= 0:
        return None
    cut = sampling.cutmix > 0 and (sampling.mixup <= 0 or rng.random() < 0.5)
    strength = sampling.cutmix if cut else sampling.mixup
    share = float(rng.beta(strength, strength))
    partners = torch.from_numpy(rng.permutation(count))
    if not cut:
        return Mix(share, partners, None)
    half_height, half_width = (side * math.sqrt(1 - share) / 2 for side in (height, width))
    y, x = rng.uniform(0, height), rng.uniform(0, width)
    top, bottom = round(max(y - half_height, 0)), round(min(y + half_height, height))
    left, right = round(max(x - half_width, 0)), round(min(x + half_width, width))
    box = Crop(top, left, bottom - top, right - left)
    return Mix(1 - box.height * box.width / (height * width), partners, box)
