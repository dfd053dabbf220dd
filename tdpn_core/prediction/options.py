"""Options of a prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from tdpn_core import defaults
from tdpn_core.errors import UsageError
from tdpn_core.fetch_limits import FOR_VIDEOS, FetchLimits
from tdpn_core.prediction.windows import Windowing


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Options of a prediction."""

    views: str | None = None
    """Test views; None: the checkpoint's own for an entire clip, 1x1 for each window of a timeline."""

    classes: Path | None = None
    """File with the class names of another project's checkpoint that contains none."""

    ema: bool | None = None
    """Averaged or raw weights of another project's checkpoint; None: those that the project evaluates."""

    trusted: bool = False
    """The user trusts a .pt2 file, which can run code."""

    topk: int = defaults.PREDICTED_CLASSES
    """Number of classes to return."""

    timeline: Windowing | None = None
    """Predictions over time instead of one per clip. Live streams always get a timeline."""

    threshold: float | None = None
    """Windows whose most likely class has a lower probability are left out of timelines; None: without `nms`, that of a
    calibrated network with one head, otherwise `defaults.THRESHOLD`."""

    smooth: float | None = None
    """Seconds over which the probabilities of a timeline's windows are averaged; None: the length of a window; 0: no
    averaging. Live streams are never smoothed."""

    min_length: float = defaults.MIN_LENGTH
    """Seconds of a timeline's shortest segment; shorter ones are merged into the neighbour that fits better."""

    nms: float | None = None
    """Find segments of each class by itself, which may overlap, and leave out those with a higher temporal IoU with a
    more probable one of their class; None: one class at each moment. Segments shorter than `min_length` are left out.
    Without effect on live streams."""

    webcam: int | str | None = None
    """Camera, as an additional clip."""

    fps: float | None = None
    """Frames per second of numbered pictures."""

    start: float | None = None
    stop: float | None = None
    """Part of a video to use, in seconds."""

    segments: Path | None = None
    """File for the segments of timelines, for annotation tools: `.csv`, Label Studio's `.json`, or ELAN's `.eaf`, of
    which a folder gets one per video."""

    overlay: Path | None = None
    """MP4 file, or folder for several clips, for the videos with the predictions drawn in."""

    explain: Path | None = None
    """MP4 file or folder for videos of the class activation maps and difference modules."""

    force: bool = False
    """Overwrite existing files."""

    fetch_limits: FetchLimits = FOR_VIDEOS
    """Timeouts for servers and live streams."""

    clip_timeout: float | None = None
    """Seconds of processor time for decoding a file; None: grows with length and picture size."""

    max_pixels: int | None = None
    """Larger pictures are refused; None: the limit of the network's data."""

    def __post_init__(self) -> None:
        if self.topk < 1:
            raise UsageError(f"--topk must be at least 1, not {self.topk}")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise UsageError(f"--threshold is a probability in [0, 1], not {self.threshold:g}")
        for name, value in (("--smooth", self.smooth), ("--min-length", self.min_length)):
            if value is not None and not 0 <= value < math.inf:
                raise UsageError(f"{name} must be 0 or a positive number of seconds, not {value:g}")
        if self.nms is not None and not 0 <= self.nms < 1:
            raise UsageError(f"--nms is a temporal IoU in [0, 1), not {self.nms:g}")
        if self.nms is not None and self.overlay is not None:
            what = "gives segments that overlap, which a drawn video cannot show"
            raise UsageError(what, where="--nms", hint="leave out --overlay or --nms")
        if self.clip_timeout is not None and not 0 < self.clip_timeout < math.inf:
            raise UsageError(f"--clip-timeout must be a positive number of seconds, not {self.clip_timeout:g}")


DEFAULTS = PredictOptions()
