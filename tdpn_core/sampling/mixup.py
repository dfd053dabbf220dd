"""Mixup and cutmix: each clip of a batch joined with another one, and the loss with it, on the device."""

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
    """One draw for a whole batch."""

    share: float
    """Of each clip itself, in pixels and in the loss; the rest is its partner's."""

    partners: Tensor
    """int64 (N,): the number in the batch of the clip that each one is joined with."""

    box: Crop | None
    """Cutmix: the part of every frame that is the partner's. None: mixup, all pixels are weighted sums."""

    def clips(self, clips: Tensor) -> Tensor:
        """Normalised clips (N, 3, T, H, W), joined; a new tensor."""
        others = clips[self.partners.to(clips.device, non_blocking=True)]
        if self.box is None:
            return torch.lerp(others, clips, self.share)
        top, left, height, width = self.box
        rows, columns = slice(top, top + height), slice(left, left + width)
        joined = clips.clone()
        joined[..., rows, columns] = others[..., rows, columns]
        return joined

    def partners_labels(self, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """For each head the partners' labels, (N,)."""
        return {head: values[self.partners.to(values.device, non_blocking=True)] for head, values in labels.items()}


def draw_mix(count: int, height: int, width: int, sampling: SamplingConfig, rng: np.random.Generator) -> Mix | None:
    """How the `count` clips of a batch are joined; None where neither is asked for. Of both, one by an even draw.

    Mixup (Zhang et al. 2018): a share of Beta(`mixup`, `mixup`). Cutmix (Yun et al. 2019): a box of one minus such a
    share of the area around an even place, cut at the edges, and the share is what it leaves.
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
