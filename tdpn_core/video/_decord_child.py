"""Chosen frames of one video through decord, as raw RGB bytes on standard output. Run as a child process.

decord's decoder can hang or crash on a damaged file, holding the interpreter's lock; hence its own process.
"""

from __future__ import annotations

import json
import sys

OTHER_COUNT = 3  # exit status: decord counts another number of frames, so its numbering cannot be trusted
UNREADABLE = 4  # exit status: decord cannot open or decode it; the reason is on standard error


def main(request: str) -> int:
    """Write (K, H, W, 3) uint8 for `request`: JSON with path, frames, width, height, indices."""
    import decord
    import numpy as np

    asked = json.loads(request)
    width, height = asked["width"], asked["height"]
    try:
        reader = decord.VideoReader(asked["path"], ctx=decord.cpu(0), width=width, height=height, num_threads=1)
        if len(reader) != asked["frames"]:
            return OTHER_COUNT
        for index in asked["indices"]:
            # Rows are padded to the decoder's alignment, which for narrow pictures shows as a fourth channel.
            rows = np.ascontiguousarray(reader[index].asnumpy()).reshape(height, -1)
            sys.stdout.buffer.write(np.ascontiguousarray(rows[:, : width * 3]).data)
    except (decord.DECORDError, ValueError, IndexError, UnicodeError) as error:
        print(str(error).strip().splitlines()[0][:300], file=sys.stderr)  # noqa: T201 - the answer to the parent
        return UNREADABLE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
