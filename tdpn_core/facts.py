"""What a recipe may look at: training clips, device, the weights a run starts from, and what the user asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from tdpn_core.config import Arch, ModelConfig

Triple = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Pixels:
    """Mean and deviation that are subtracted and divided by, of a pixel in [0, 1]."""

    mean: Triple
    std: Triple


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a run before it starts; the defaults say that nothing is."""

    per_class: tuple[int, ...] = ()
    """Training clips of each class of the first head."""

    frames: int = 64
    """Median number of frames of a training clip."""

    side: int = 256
    """Median short side of a training clip in pixels, as it is stored."""

    aspect: float = 16 / 9
    """Median ratio of the long side of a training clip to its short one."""

    device: Literal["cpu", "cuda"] = "cpu"

    memory: float = 0.0
    """Of all GPUs that train together, in GiB."""

    start: Literal["nothing", "images", "clips"] = "nothing"
    """What the weights of `--init` were trained on."""

    arch: Arch | None = None
    """Depth of those weights, where their file tells."""

    pixels: Pixels | None = None
    """How the pixels were normalised that those weights know."""

    network: ModelConfig | None = None
    """The network of those weights, where they are a checkpoint of ours."""

    asked: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What the user set, by path: `{"train.batch_size": 8}`."""

    @property
    def clips(self) -> int:
        """Training clips with a label of the first head."""
        return sum(self.per_class)

    def steps(self, batch: int, *, balanced: bool = False) -> int:
        """Optimiser steps of an epoch with batches of `batch` clips, as the loader forms them: at least one."""
        clips = self.clips
        if balanced:  # every class has as many clips as the mean class
            classes = sum(count > 0 for count in self.per_class)
            clips = -(-clips // max(1, classes)) * classes
        return max(1, clips // max(1, min(batch, self.clips or batch)))
