"""How projects prepare and sample clips outside their networks, and the values that several of them share.

Sources are the projects' own configurations and test scripts.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from tdpn_core.recipes.auto_recipe import Pixels

IMAGENET = Pixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
KINETICS = Pixels((0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
TPU = Pixels((127 / 255,) * 3, (128 / 255,) * 3)
"""Normalisation of tensorflow/tpu for EfficientNet-Lite: (x - 127) / 128 for a byte x."""
SYMMETRIC = Pixels((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
FLOW = Pixels((0.5, 0.5, 0.5), (0.226, 0.226, 0.226))


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a project samples and tests a network."""

    mode: Literal["dense", "segments"]
    interval: int
    """Interval in frames between two sampled frames of a dense clip."""

    views: str
    short_side: int = 256
    """Short side of test frames in pixels."""

    pixels: Pixels | None = None
    """Normalisation of pixels, if the network's differs from the project's."""


SEGMENTS = Protocol("segments", 1, "1x1")
TEN_CROPS = Protocol("segments", 1, "1x10")
TWICE = Protocol("segments", 1, "2x3")
DENSE_2 = Protocol("dense", 2, "10x3")
DENSE_4 = Protocol("dense", 4, "10x3")
DENSE_8 = Protocol("dense", 8, "10x3")
