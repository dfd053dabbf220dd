"""Options for packing the frames of a clip, and the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tdpn_core import defaults
from tdpn_core.errors import ConfigError
from tdpn_core.modality import Modality
from tdpn_core.validation import Count, Settings, settings_class


@settings_class
class Encoding(Settings):
    """How frames are packed, and limits on clip size."""

    section: ClassVar[str] = "encoding"

    short_side: Count = defaults.SHORT_SIDE
    """Shorter side in pixels. Pixels are treated as square regardless of the container's aspect ratio, as common video
    readers do, whose frames models were trained on."""

    enlarge: bool = False
    """Scale smaller frames up; otherwise they keep their size."""

    quality: Annotated[int, Field(ge=2, le=31)] = defaults.JPEG_QUALITY
    """ffmpeg's JPEG scale, from 2 (best) to 31 (worst). For H.264, the constant rate factor is `quality` + 16."""

    fps: Annotated[float, Field(gt=0, le=1000)] | None = None
    """Frames per second to resample to; None keeps every frame."""

    max_pixels: Count = defaults.MAX_PIXELS
    """Largest picture in pixels; larger ones are refused before decoding. The default fits both 8K formats."""

    max_frames: Count = defaults.MAX_FRAMES
    """Longest clip in frames; longer ones are refused. The default is 20 minutes at 30 frames per second."""

    codec: Literal["jpeg", "video"] = defaults.CODEC
    """One JPEG per frame, or one small H.264 file per clip, with even sides: an odd last row or column is dropped."""

    modality: Modality = "rgb"
    """RGB, or optical flow as two grey JPEGs per frame."""

    flow_method: Literal["auto", "tvl1", "dis"] = "auto"
    """Optical flow method; auto: TV-L1 if OpenCV has it, else DIS."""

    def __post_init__(self) -> None:
        if self.modality == "flow" and self.codec == "video":
            raise ConfigError("optical flow is packed as JPEG, not as video")


ENCODING = Encoding()


@dataclass(frozen=True)
class EncodedClip:
    """The K items of a clip, written one after another.

    JPEG: one item per frame; video: one item; flow: two items per frame, horizontal and vertical.
    """

    sizes: NDArray[np.int64]
    """(K,) bytes of each item."""

    crc32: NDArray[np.uint32]
    """(K,) checksum of each item."""

    sha256: str
    """SHA-256 of all items in file order."""

    frames: int
    """Number of frames; for flow, number of pairs of successive frames."""

    times: NDArray[np.float64] | None
    """(frames,) seconds from the first frame; None if evenly spaced at `fps`."""

    fps: float
    """Frames per second; the mean if uneven; 25 if unknown."""

    width: int
    height: int
    """Upright picture size in pixels."""

    note: str | None
    """A note on a complete clip: which of several streams was used, or ffmpeg's first error line."""

    flow_method: Literal["tvl1", "dis"] | None = None
    """Method that computed the flow; None for RGB."""
