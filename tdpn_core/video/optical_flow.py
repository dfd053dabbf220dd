"""Optical flow stored as two grey pictures per frame, as two-stream networks use it.

Flow is the motion from a frame to the next, in pixels of the packed size: channel 0 to the right, channel 1 downwards.
It is clipped to ±20 pixels and mapped to bytes, `round((flow + 20) * 255 / 40)`, so that zero motion is 128; the
inverse is `byte * 40 / 255 - 20`, accurate to 0.08 pixels, and zero motion becomes 0.08.

Sources: Simonyan and Zisserman, "Two-Stream Convolutional Networks for Action Recognition in Videos", 2014; the bound
of 20 from Wang et al., "Temporal Segment Networks", 2016. TV-L1: Zach, Pock and Bischof, 2007. DIS: Kroeger et al.,
"Fast Optical Flow using Dense Inverse Search", 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from tdpn_core.errors import ToolError
from tdpn_core.video.encode_options import Encoding

BOUND = 20.0
"""Largest flow in pixels; larger values are clipped."""

Method = Literal["tvl1", "dis"]
Grey = NDArray[np.uint8]
"""A picture (H, W)."""

Compute = Callable[[Grey, Grey], NDArray[np.float32]]

_HINT = "pip install 'tdpn[flow]'"
_STEP = 255 / (2 * BOUND)


def flow_method(encoding: Encoding) -> Method | None:
    """Return the flow method for `encoding` on this machine; None without flow. Call it before the work starts.

    Raises:
        ToolError: OpenCV is not installed, or lacks the requested method.
    """
    if encoding.modality != "flow":
        return None
    try:
        import cv2
    except ImportError as error:
        raise ToolError("optical flow needs OpenCV, which is not installed", hint=_HINT) from error
    has_tvl1 = hasattr(getattr(cv2, "optflow", None), "DualTVL1OpticalFlow_create")
    if encoding.flow_method == "auto":
        return "tvl1" if has_tvl1 else "dis"
    if encoding.flow_method == "tvl1" and not has_tvl1:
        raise ToolError("this OpenCV has no TV-L1 flow, which comes with its contrib modules", hint=_HINT)
    return encoding.flow_method


def flow_computer(method: Method) -> Compute:
    """Return a function from two grey pictures (H, W) to the flow (H, W, 2) in pixels between them. One per thread."""
    cv2: Any = import_module("cv2")  # its type stubs lack the contrib modules

    if method == "tvl1":
        computer = cv2.optflow.DualTVL1OpticalFlow_create()
    else:
        computer = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def compute(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
        flow: NDArray[np.float32] = computer.calc(first, second, None)
        return flow

    return compute


def read_grey(pgm: bytes) -> Grey:
    """Return the picture of a binary PGM file as written by ffmpeg, 8 bits, without comments."""
    _, size, _, _ = pgm.split(b"\n", 3)
    width, height = map(int, size.split())
    return np.frombuffer(pgm[-width * height :], np.uint8).reshape(height, width)


def flow_bytes(flow: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Convert flow in pixels, of any shape, to bytes."""
    values: NDArray[np.uint8] = np.rint((np.clip(flow, -BOUND, BOUND) + BOUND) * _STEP).astype(np.uint8)
    return values


def flow_pixels(values: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Invert `flow_bytes`, except for clipped values."""
    return values.astype(np.float32) / np.float32(_STEP) - np.float32(BOUND)


def jpeg_quality(scale: int) -> int:
    """Return the libjpeg quality (1 to 100) nearest to a step of ffmpeg's scale: 2 is 95, 31 is 23."""
    return round(100 - 2.5 * scale)


def encode_flow(flow: NDArray[np.float32], quality: int = 95) -> tuple[bytes, bytes]:
    """Encode flow (H, W, 2) in pixels as two grey JPEG files, horizontal and vertical; `quality` from 1 to 100."""
    values = flow_bytes(flow)
    horizontal, vertical = (np.ascontiguousarray(values[..., channel, None]) for channel in (0, 1))
    return (
        simplejpeg.encode_jpeg(horizontal, quality, "GRAY", "444"),
        simplejpeg.encode_jpeg(vertical, quality, "GRAY", "444"),
    )


def decode_flow(items: Sequence[bytes]) -> NDArray[np.uint8]:
    """Decode 2K items to bytes (K, H, W, 2) of K frames; `flow_pixels` converts them to pixels.

    Raises:
        ValueError: an item is not a complete JPEG file, sizes differ, or there are none or an odd number.
    """
    planes = [simplejpeg.decode_jpeg(item, "GRAY")[..., 0] for item in items]
    return np.stack([np.stack(planes[0::2]), np.stack(planes[1::2])], axis=-1)
