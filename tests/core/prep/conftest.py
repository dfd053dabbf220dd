import shutil
from pathlib import Path

import pytest

from tdpn_core.prep import PrepConfig
from tdpn_core.video.encoding import Encoding

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


@pytest.fixture(scope="session")
def small() -> PrepConfig:
    """Two shards or so a block, three blocks."""
    return PrepConfig(encoding=Encoding(short_side=32), shard_bytes=60_000, block_clips=4)


@pytest.fixture(scope="session")
def source(render, tmp_path_factory) -> Path:
    """Twelve clips of two classes, one of them cut off."""
    root = tmp_path_factory.mktemp("source")
    for number in range(12):
        motion = f"testsrc2=size=64x48:rate=30:duration={1 + number % 3 * 0.2}"
        clip = render(f"clip{number}.mkv", *H264, inputs=("-f", "lavfi", "-i", motion))
        split = "val" if number in (4, 5) else "train"
        target = root / split / "ab"[number % 2] / f"{number}.mkv"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, target)
    cut = root / "train" / "a" / "8.mkv"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    return root
