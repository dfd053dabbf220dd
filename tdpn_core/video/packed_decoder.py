"""Decode chosen frames of a clip that was packed as video, from memory.

The file was written by tdpn and its checksum verified, so decord may decode it in this process; its encoding makes
decord's index exact: no frame depends on a later one, and frames are evenly timed.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tdpn_core.errors import ClipError


def decode_stored(data: bytes, frames: Sequence[int], height: int, width: int) -> NDArray[np.uint8]:
    """Decode frames by number.

    Args:
        data: the only item of a clip whose `Encoding.codec` is "video".
        frames: K numbers from 0, in any order, repeats allowed.
        height: height of the clip in pixels.
        width: width of the clip in pixels.

    Returns:
        (K, H, W, 3) RGB.

    Raises:
        ClipError: `data` is not such a file, or has no such frame.
    """
    import decord

    numbers, places = np.unique(np.asarray(frames, np.int64), return_inverse=True)
    try:
        reader = decord.VideoReader(io.BytesIO(data), ctx=decord.cpu(0), num_threads=1)
        if len(numbers) == 0 or numbers[0] < 0 or numbers[-1] >= len(reader):
            raise ClipError(f"a packed clip has frames 0 to {len(reader) - 1}, not {list(frames)[:8]}")
        # one by one: a batch is refused where rows are padded
        pictures = np.stack([reader[number].asnumpy() for number in numbers.tolist()])
    except (decord.DECORDError, ValueError, IndexError) as error:
        raise ClipError(f"a packed clip cannot be decoded: {str(error).strip()[:120]}") from error
    # Rows are padded to the decoder's alignment, which for narrow pictures appears as a fourth channel.
    rows = np.ascontiguousarray(pictures).reshape(len(numbers), height, -1)
    chosen: NDArray[np.uint8] = rows[:, :, : 3 * width].reshape(len(numbers), height, width, 3)[places]
    return chosen
