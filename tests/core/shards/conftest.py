import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from tdpn_core import files
from tdpn_core.shards.manifest import MANIFEST, Manifest
from tdpn_core.shards.writer import Origin, PackedClip, write_shard

COUNTS = (3, 5, 2, 4)  # frames of the clips of the train split; the second one's are uneven
CLASSES = {"action": ["jump", "run"]}
SETTINGS = {"short_side": 8}


@dataclass
class Made:
    """A clip beside the bytes of its items."""

    packed: PackedClip
    data: bytes


def made(folder: Path, number: int, count: int, *, grey: bool = False) -> Made:
    random = np.random.default_rng(number)
    shape, colours = ((8, 12, 1), "GRAY") if grey else ((8, 12, 3), "RGB")
    frames = [simplejpeg.encode_jpeg(random.integers(0, 255, shape, np.uint8), colorspace=colours,
                                     colorsubsampling="Gray" if grey else "444") for _ in range(count)]  # fmt: skip
    data = b"".join(frames)
    items = folder / f"{number}.items"
    items.write_bytes(data)
    packed = PackedClip(
        id=f"clip {number}\udcff",
        source=f"a/clip {number}\udcff.mp4",
        labels={"action": number % 2 - (number == 3)},
        items=items,
        sizes=np.array([len(frame) for frame in frames]),
        crc32=np.array([zlib.crc32(frame) for frame in frames], np.uint32),
        sha256=hashlib.sha256(data).hexdigest(),
        frames=count // 2 if grey else count,
        times=np.cumsum(np.arange(count) * 0.1) if number == 1 else None,
        fps=25.0,
        width=12,
        height=8,
    )
    return Made(packed, data)


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> list[Made]:
    folder = tmp_path_factory.mktemp("items")
    return [made(folder, number, count) for number, count in enumerate(COUNTS)]


@pytest.fixture
def prepared(tmp_path: Path, clips: list[Made]) -> Path:
    """A small data set: two shards for training, one for validation."""
    folder = tmp_path / "data"
    folder.mkdir()
    origin = Origin("folder", "jpeg", CLASSES, SETTINGS)

    def save(name, pieces):
        (folder / name).write_bytes(b"".join(pieces))

    lots = [("train", 0, clips[:2]), ("train", 1, clips[2:]), ("val", 0, [made(tmp_path, 9, 2)])]
    shards = [write_shard([clip.packed for clip in lot], origin, split, block, 0, save) for split, block, lot in lots]
    manifest = Manifest(dataset="folder", root="/r", classes=CLASSES, label_order="sorted", settings=SETTINGS,
                        shards=shards, left_out={"train": 1})  # fmt: skip
    files.write_bytes(folder / MANIFEST, manifest.to_json())
    return folder


@pytest.fixture
def shard_of(prepared: Path):
    """The file of a block: `shard_of("train", 0)`."""

    def find(split: str, block: int) -> Path:
        (path,) = prepared.glob(f"{split}-{block:05d}-00-*.h5")
        return path

    return find
