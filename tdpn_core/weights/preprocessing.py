"""What stands outside the networks of each project: its pixels and its sampling. One table.

Sources are the projects' own configurations and test scripts.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from tdpn_core.config.auto_recipe import Pixels
from tdpn_core.config.schema import SamplingConfig

IMAGENET = Pixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
KINETICS = Pixels((0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
TORCHVISION_VIDEO = Pixels((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
SYMMETRIC = Pixels((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
FLOW = Pixels((0.5, 0.5, 0.5), (0.226, 0.226, 0.226))


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a project samples and tests a network."""

    mode: Literal["dense", "segments"]
    interval: int
    views: str
    short_side: int = 256
    """Of the frames that it is tested on, in pixels."""


DENSE_8 = Protocol("dense", 8, "10x3")
DENSE_4 = Protocol("dense", 4, "10x3")
DENSE_2 = Protocol("dense", 2, "10x3")
SEGMENTS = Protocol("segments", 1, "1x1")
TWICE = Protocol("segments", 1, "2x3")

PIXELS: dict[str, Pixels] = {
    "torchvision": IMAGENET,
    "torchvision's video models": TORCHVISION_VIDEO,
    "decisionforce/TPN": IMAGENET,
    "mmaction2": IMAGENET,
    "pytorchvideo": KINETICS,
    "PySlowFast": KINETICS,
    "mit-han-lab/temporal-shift-module": IMAGENET,
    "MCG-NJU/TDN": IMAGENET,
    "pytorch-i3d": SYMMETRIC,
}

PROTOCOLS: dict[str, dict[str, Protocol]] = {
    "torchvision": {"tsn": SEGMENTS},
    "torchvision's video models": {"r2plus1d": Protocol("dense", 2, "5x1", 128)},
    "decisionforce/TPN": {"slowonly": DENSE_8, "tpn": DENSE_8, "tsm": TWICE, "tsm+tpn": TWICE, "tsn": SEGMENTS},
    "mmaction2": {
        "tsn": SEGMENTS,
        "tsm": TWICE,
        "tsm+tpn": TWICE,
        "tsn+tpn": TWICE,
        "slowonly": DENSE_8,
        "tpn": DENSE_8,
        "i3d": DENSE_2,
        "slowfast": DENSE_2,
        "c2d": DENSE_8,
    },
    "pytorchvideo": {
        "slowonly": DENSE_8,
        "c2d": DENSE_8,
        "i3d": DENSE_8,
        "slowfast": DENSE_2,
        "r2plus1d": DENSE_4,
    },
    "PySlowFast": {"slowonly": DENSE_8, "c2d": DENSE_8, "i3d": DENSE_8, "slowfast": DENSE_2},
    "mit-han-lab/temporal-shift-module": {"tsm": TWICE, "tsn": SEGMENTS},
    "MCG-NJU/TDN": {"tdn": SEGMENTS},
    "pytorch-i3d": {"i3d": Protocol("dense", 1, "1x1")},
}
"""Of each project, by family of networks."""


def sampling_of(project: str, family: str, modality: str) -> SamplingConfig:
    """Sampling and normalisation as the project has them."""
    protocol = PROTOCOLS[project].get(family, SEGMENTS)
    pixels = FLOW if modality == "flow" and project != "pytorch-i3d" else PIXELS[project]
    return SamplingConfig(
        mode=protocol.mode,
        interval=protocol.interval,
        views=protocol.views,
        short_side=protocol.short_side,
        mean=pixels.mean,
        std=pixels.std,
    )
