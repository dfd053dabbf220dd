"""How the frames of a clip are packed, and what comes of it."""

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
    """How frames are packed, and what is too large to be a clip."""

    section: ClassVar[str] = "encoding"

    short_side: Count = defaults.SHORT_SIDE
    """Pixels of the shorter side. Pixels are taken as square, whatever the container says of their shape: that is how
    the usual readers see a clip, and how models were trained."""

    enlarge: bool = False
    """Scale a smaller frame up; else it is left as it is."""

    quality: Annotated[int, Field(ge=2, le=31)] = defaults.JPEG_QUALITY
    """ffmpeg's JPEG scale: 2 is best, 31 worst. In H.264 it stands for a constant rate factor of `quality` + 16."""

    fps: Annotated[float, Field(gt=0, le=1000)] | None = None
    """Frames a second to resample to; None: every frame as filmed."""

    max_pixels: Count = defaults.MAX_PIXELS
    """A larger picture is refused before memory is spent on it. The default takes 8K in both of its shapes."""

    max_frames: Count = defaults.MAX_FRAMES
    """A longer clip is refused: 20 minutes at 30 frames a second."""

    codec: Literal["jpeg", "video"] = "jpeg"
    """One JPEG a frame, or the clip as one small H.264 file, which has even sides: an odd last row or column is left
    out."""

    modality: Modality = "rgb"
    """Colours, or optical flow as two grey JPEGs a frame."""

    flow_method: Literal["auto", "tvl1", "dis"] = "auto"
    """How flow is computed; auto: TV-L1 where OpenCV has it, else DIS."""

    def __post_init__(self) -> None:
        if self.modality == "flow" and self.codec == "video":
            raise ConfigError("optical flow is packed as JPEG, not as video")


ENCODING = Encoding()


@dataclass(frozen=True)
class EncodedClip:
    """The items of a clip that were written one after the other, K of them.

    Packed as JPEG, one item a frame; as video, one item; as flow, two items a frame, horizontal and vertical.
    """

    sizes: NDArray[np.int64]
    """(K,) bytes of each item."""

    crc32: NDArray[np.uint32]
    """(K,) of each item."""

    sha256: str
    """Of all items, as they lie in the file."""

    frames: int
    """Frames of the clip; of flow, pairs of successive frames."""

    times: NDArray[np.float64] | None
    """(frames,) seconds from the first frame; None if they are even, at `fps`."""

    fps: float
    """Frames a second; of an uneven clip, the mean; 25 where nothing tells it."""

    width: int
    height: int
    """Size in pixels of the pictures, upright."""

    note: str | None
    """What is worth knowing of a whole clip: which of several streams was taken, or ffmpeg's first complaint."""

    flow_method: Literal["tvl1", "dis"] | None = None
    """How flow was computed; None of RGB."""
