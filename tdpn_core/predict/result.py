"""What comes of a prediction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tdpn_core.errors import TdpnError
from tdpn_core.predict.ranking import Ranking


@dataclass(frozen=True, kw_only=True)
class NetworkInfo:
    """Which network answered, and how it was asked."""

    checkpoint: str
    """Its file, a checkpoint or an exported one."""

    dataset: str
    """Name of the data set it was trained on; of another project's checkpoint, the project."""

    data: str
    """Folder of that prepared data set, as the checkpoint has it; empty where it has none."""

    epoch: int | None
    """Epochs it was trained for; None where the file does not say."""

    weights: Literal["averaged", "raw"] | None
    """Which set of weights, of a file that has raw and averaged (EMA) ones; else None."""

    views: str
    """Test views, clips x crops, of the clip or of each window."""

    def __str__(self) -> str:
        place = f" ({self.data})" if self.data else ""
        epoch = "" if self.epoch is None else f", epoch {self.epoch}"
        weights = "" if self.weights is None else f", {self.weights} weights"
        return f"{self.checkpoint}: trained on {self.dataset}{place}{epoch}{weights}; views {self.views}"


@dataclass(frozen=True)
class Segment:
    """A stretch of a clip, and what happens in it."""

    start: float
    end: float
    """In seconds from the clip's start."""

    heads: dict[str, Ranking]
    """For each head (class name, probability), the likeliest first."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The likeliest classes of one clip, or why there are none."""

    name: str
    """The clip, as it was named."""

    heads: dict[str, Ranking] = field(default_factory=dict)
    """For each head (class name, probability), the likeliest first; empty if the clip failed. Of a timeline, the mean
    of the whole."""

    segments: list[Segment] | None = None
    """Of a timeline, in the order of time; with an error, those before it."""

    seconds: float | None = None
    """Length of the clip, as far as it was read."""

    error: TdpnError | None = None

    network: NetworkInfo | None = None
    """Which network answered; None where the clip was not reached."""
