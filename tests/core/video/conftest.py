"""Clips encoded into a scratch file, with their items."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from tdpn_core.video.encode import EncodedClip, Encoding, encode_clip
from tdpn_core.video.encode_options import ENCODING
from tdpn_core.video.source import Source


@dataclass(frozen=True)
class Encoded:
    """What `encode_clip` returned, and what it wrote."""

    clip: EncodedClip
    items: list[bytes]

    @property
    def pixels(self) -> np.ndarray:
        """(frames, H, W, 3), of a clip packed as JPEG."""
        return np.stack([simplejpeg.decode_jpeg(item) for item in self.items])


Encode = Callable[..., Encoded]


@pytest.fixture
def encode(program, tmp_path_factory) -> Encode:
    """`encode(path or Source, Encoding(), start=, stop=, ...)`; every result is checked against its own sums."""
    folder = tmp_path_factory.mktemp("scratch")

    def make(source: Path | Source, encoding: Encoding = ENCODING, *, start=np.nan, stop=np.nan, **options) -> Encoded:
        destination = folder / "clip.bin"
        if isinstance(source, Path):
            source = Source(source, start=start, stop=stop)
        try:
            clip = encode_clip(source, destination, options.pop("program", program), encoding, **options)
        except BaseException:
            assert not any(folder.iterdir())  # nothing is left of a failure
            raise
        data = destination.read_bytes()
        destination.unlink()
        assert not any(folder.iterdir())
        assert (len(data), sha256(data).hexdigest()) == (clip.sizes.sum(), clip.sha256)
        ends = np.cumsum(clip.sizes)
        items = [data[end - size : end] for size, end in zip(clip.sizes, ends, strict=True)]
        assert [zlib.crc32(item) for item in items] == clip.crc32.tolist()
        assert clip.times is None or clip.times.shape == (clip.frames,)
        return Encoded(clip, items)

    return make
