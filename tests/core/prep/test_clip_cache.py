"""Encoded clips on their way into a shard."""

import hashlib
import zlib

import numpy as np
import pytest

from tdpn_core.prep.clip_cache import ClipCache
from tdpn_core.shards.writer import PackedClip


@pytest.fixture(params=["even", "uneven"])
def kept(request, tmp_path):
    """A scratch folder and the clip that is kept in it."""
    cache = ClipCache(tmp_path, "key")
    items = cache.items("train-00000", 3)
    items.write_bytes(b"abcdef")
    clip = PackedClip(
        id="clip\udcff", source="a/clip\udcff.mp4", labels={"verb": 1, "noun": -1}, items=items,
        sizes=np.array([2, 4]), crc32=np.array([zlib.crc32(b"ab"), zlib.crc32(b"cdef")], np.uint32),
        sha256=hashlib.sha256(b"abcdef").hexdigest(), frames=2,
        times=None if request.param == "even" else np.array([0, 0.7]), fps=29.97, width=12, height=8,
    )  # fmt: skip
    cache.keep("train-00000", 3, clip, "stamp")
    return cache, clip


def test_a_kept_clip_comes_back_as_it_was(kept):
    cache, clip = kept
    found = cache.kept("train-00000", 3, clip.id, "stamp")
    assert np.array_equal(found.sizes, clip.sizes)
    assert np.array_equal(found.crc32, clip.crc32)
    assert found.times is clip.times or np.array_equal(found.times, clip.times)
    plain = ("id", "source", "labels", "items", "sha256", "frames", "fps", "width", "height")
    assert {name: getattr(found, name) for name in plain} == {name: getattr(clip, name) for name in plain}


def test_it_is_another_clip_for_another_name_source_or_encoding(kept):
    cache, clip = kept
    assert cache.kept("train-00000", 3, "other", "stamp") is None
    assert cache.kept("train-00000", 3, clip.id, "later") is None
    assert cache.kept("train-00000", 4, clip.id, "stamp") is None
    assert ClipCache(cache.folder, "other").kept("train-00000", 3, clip.id, "stamp") is None


def test_no_damage_to_it_goes_unnoticed(kept):
    cache, clip = kept
    folder = cache.folder / "train-00000"
    for path in (folder / "3.table", folder / "3.items"):
        whole = path.read_bytes()
        damaged = [whole[:length] for length in range(len(whole))]
        damaged += [whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :] for at in range(len(whole))]
        for content in damaged:
            path.write_bytes(content)
            assert cache.kept("train-00000", 3, clip.id, "stamp") is None
        path.write_bytes(whole)
    assert cache.kept("train-00000", 3, clip.id, "stamp") is not None
    cache.clear("train-00000")
    assert not folder.exists()
