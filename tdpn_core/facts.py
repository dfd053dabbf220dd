"""What a recipe may look at: the training clips, the device, and the weights that a run starts from."""

from __future__ import annotations

import dataclasses
from typing import Literal

from tdpn_core.config import Arch, ModelConfig

Triple = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Pixels:
    """Mean and deviation that are subtracted and divided by, of a pixel in [0, 1]."""

    mean: Triple
    std: Triple


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """About one run to be; the defaults say that nothing is known."""

    per_class: tuple[int, ...] = ()
    """Training clips of each class of the first head."""

    frames: int = 64
    """Median number of frames of a training clip."""

    side: int = 256
    """Median short side of a training clip in pixels, as it is stored."""

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

    @property
    def clips(self) -> int:
        """Training clips with a label of the first head."""
        return sum(self.per_class)
