"""Decode the items of a clip to pixels, for every packing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from tdpn_core.errors import ClipError
from tdpn_core.shards.format import Packing
from tdpn_core.video import optical_flow as flow


def decode_frames(
    packing: Packing,
    read: Callable[[Sequence[int]], list[bytes]],
    frames: Sequence[int],
    height: int,
    width: int,
    where: str,
) -> NDArray[np.uint8]:
    """Decode frames of one clip.

    Args:
        packing: kind of items.
        read: returns the bytes of items by their numbers.
        frames: K frame numbers from 0.
        height: height H of the frames.
        width: width W of the frames.
        where: the clip, for messages.

    Returns:
        (K, H, W, 3) RGB, or (K, H, W, 2) for optical flow, u and v.

    Raises:
        ClipError: an item cannot be decoded.
    """
    if packing == "video":
        return decode_video(read([0])[0], frames, height, width, where)
    if packing == "flow":
        return decode_flow(
            read([item for frame in frames for item in (2 * frame, 2 * frame + 1)]), frames, height, width, where
        )
    return decode_jpegs(read(frames), frames, height, width, where)


def decode_jpegs(
    jpegs: Sequence[bytes], frames: Sequence[int], height: int, width: int, where: str
) -> NDArray[np.uint8]:
    """Decode JPEGs to (K, H, W, 3) RGB.

    Args:
        jpegs: files of K frames.
        frames: their numbers, for messages.
        height: height H of the frames.
        width: width W of the frames.
        where: the clip, for messages.

    Raises:
        ClipError: one is not a complete JPEG of that size.
    """
    pixels = np.empty((len(jpegs), height, width, 3), np.uint8)
    for number, jpeg, target in zip(frames, jpegs, pixels, strict=True):
        try:
            found = simplejpeg.decode_jpeg(jpeg, colorspace="RGB", buffer=target).shape
        except ValueError as error:
            raise ClipError(f"frame {number} cannot be decoded ({error})", where=where) from error
        if found != target.shape:
            raise ClipError(f"frame {number} is {found[1]}x{found[0]}, the clip {width}x{height}", where=where)
    return pixels


def decode_flow(
    jpegs: Sequence[bytes], frames: Sequence[int], height: int, width: int, where: str
) -> NDArray[np.uint8]:
    """Decode pairs of grey JPEGs, u and v of K frames, to (K, H, W, 2).

    Raises:
        ClipError: one is not a complete JPEG of that size.
    """
    if not frames:
        return np.empty((0, height, width, 2), np.uint8)
    try:
        pixels = flow.decode_flow(jpegs)
    except ValueError as error:
        raise ClipError(f"flow of frames {list(frames)[:8]} cannot be decoded ({error})", where=where) from error
    if pixels.shape[1:3] != (height, width):
        raise ClipError(f"its flow is {pixels.shape[2]}x{pixels.shape[1]}, the clip {width}x{height}", where=where)
    return pixels


def decode_video(content: bytes, frames: Sequence[int], height: int, width: int, where: str) -> NDArray[np.uint8]:
    """Decode frames of a packed video file to (K, H, W, 3) RGB.

    Raises:
        ClipError: they cannot be decoded.
    """
    from tdpn_core.video.packed_decoder import decode_stored  # decord is not needed for other packings

    try:
        return decode_stored(content, frames, height, width)
    except ClipError as error:
        raise ClipError(error.what, where=where) from error
