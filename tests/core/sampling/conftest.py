"""Clips in memory, in place of the shards' reader."""

from collections.abc import Sequence

import numpy as np
import pytest
import simplejpeg

from tdpn_core.shards.decode import decode_jpegs


class MemoryClips:
    """`counts[i]` grey JPEG frames in clip i; frame f of clip i is round(2 * (10 * i + f)) mod 256 all over.

    `noise` makes them random blocks instead, so that pixels have places.
    """

    def __init__(
        self,
        counts: Sequence[int],
        *,
        size: tuple[int, int] = (48, 64),
        classes: Sequence[str] = ("moving left", "moving right", "standing"),
        noise: bool = False,
    ) -> None:
        self.ids = [f"clip-{number}" for number in range(len(counts))]
        self.counts = np.array(counts)
        self.classes = {"action": list(classes)}
        self.labels = {"action": np.arange(len(counts)) % len(classes)}
        self.noise = noise
        self.reads: list[list[int]] = []
        self._size = size
        self.damaged: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def size(self, clip: int) -> tuple[int, int]:
        return self._size

    def decode(self, clip: int, frames: Sequence[int]) -> np.ndarray:
        return decode_jpegs(self.read(clip, frames), frames, *self._size, self.ids[clip])

    def read(self, clip: int, frames: Sequence[int]) -> list[bytes]:
        self.reads.append(list(frames))
        if clip in self.damaged:
            return [self.damaged[clip]] * len(frames)
        return [simplejpeg.encode_jpeg(self.frame(clip, frame), quality=95) for frame in frames]

    def frame(self, clip: int, frame: int) -> np.ndarray:
        assert 0 <= frame < self.counts[clip]
        height, width = self._size
        if not self.noise:
            return np.full((height, width, 3), 2 * (10 * clip + frame) % 256, np.uint8)
        blocks = np.random.default_rng((clip, frame)).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
        return np.ascontiguousarray(blocks.repeat(8, axis=0).repeat(8, axis=1))


@pytest.fixture(scope="session")
def memory_clips() -> type[MemoryClips]:
    return MemoryClips
