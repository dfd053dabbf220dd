from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from tdpn_core.shards.manifest import Failure, Manifest
from tdpn_core.shards.write import PackedClip, ShardWriter

COUNTS = (3, 5, 2, 4)  # frames of the clips of the train split; the second one's are uneven


def packed(number: int, count: int) -> PackedClip:
    random = np.random.default_rng(number)
    frames = [simplejpeg.encode_jpeg(random.integers(0, 255, (8, 12, 3), np.uint8)) for _ in range(count)]
    return PackedClip(
        id=f"clip {number}\udcff",
        source=f"a/clip {number}\udcff.mp4",
        labels={"action": number % 2 - (number == 3)},
        data=b"".join(frames),
        sizes=np.array([len(frame) for frame in frames]),
        times=np.cumsum(np.arange(count) * 0.1) if number == 1 else None,
        fps=25.0,
        width=12,
        height=8,
    )


@pytest.fixture(scope="session")
def clips() -> list[PackedClip]:
    return [packed(number, count) for number, count in enumerate(COUNTS)]


@pytest.fixture
def prepared(tmp_path: Path, clips: list[PackedClip]) -> Path:
    """A small data set: two shards for training, one for validation."""
    manifest = Manifest(dataset="folder", root="/r", classes={"action": ["jump", "run"]}, settings={"short_side": 8})
    writer = ShardWriter(tmp_path / "data", manifest, shard_bytes=sum(len(clip.data) for clip in clips[:2]))
    writer.begin("train")
    for clip in clips:
        writer.add(clip)
    writer.fail(Failure("bad", "a/bad.mp4", "truncated: 1 of 2 frames", "5-6"))
    writer.begin("val")
    writer.add(packed(9, 2))
    writer.finish()
    return tmp_path / "data"
