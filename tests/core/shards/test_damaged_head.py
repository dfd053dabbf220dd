"""Damage to what HDF5 reads of a shard is found before HDF5 reads it: its reader can loop forever on a damaged byte."""

import multiprocessing

import numpy as np
import pytest

from tdpn_core.errors import ShardError
from tdpn_core.shards import format as shard_format
from tdpn_core.shards.manifest import load_manifest
from tdpn_core.shards.reader import ClipStore, open_index

SECONDS = 60
"""For all openings of the child together; one that loops never ends."""


def seen(index):
    return index.clips.tobytes(), index.attributes, index.extents, index.digest


def open_damaged(folder, name, rounds, results):
    """Open the shard with random bytes of its head changed, `rounds` times; send how often it was refused."""
    manifest = load_manifest(folder)
    (shard,) = (shard for shard in manifest.shards if shard.file == name)
    path, random, refused = folder / name, np.random.default_rng(0), 0
    original, expected = path.read_bytes(), seen(open_index(path, shard, manifest.classes_digest))
    used = np.flatnonzero(np.frombuffer(original[: shard.head_bytes], np.uint8))
    for number in range(rounds):
        places = used if number % 2 else np.arange(shard.head_bytes)
        damaged = bytearray(original)
        for position in random.choice(places, random.integers(1, 5)):
            damaged[position] = int(random.integers(256))
        path.write_bytes(damaged)
        try:
            assert seen(open_index(path, shard, manifest.classes_digest)) == expected
        except ShardError:
            refused += 1
    results.put(refused)


def test_shard_with_random_bytes_of_its_head_changed_is_refused_or_equal(prepared, shard_of, repetitions):
    rounds = 400 * repetitions
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=open_damaged, args=(prepared, shard_of("train", 0).name, rounds, results))
    child.start()
    child.join(SECONDS * repetitions)
    if child.is_alive():
        child.kill()
        pytest.fail("an opening does not end")
    assert child.exitcode == 0
    assert results.get(timeout=10) > rounds * 0.9


@pytest.mark.parametrize("place", ["superblock", "tables", "padding"])
def test_shard_with_a_damaged_head_is_refused_before_hdf5_reads_it(prepared, shard_of, place, monkeypatch):
    path = shard_of("train", 0)
    (shard,) = (shard for shard in load_manifest(prepared).shards if shard.file == path.name)
    content = bytearray(path.read_bytes())
    content[{"superblock": 40, "tables": shard.head_bytes // 2, "padding": shard.head_bytes - 1}[place]] ^= 1
    path.write_bytes(content)

    def opened(*_, **__):
        raise AssertionError("HDF5 was asked to read a damaged file")

    monkeypatch.setattr(shard_format.h5py, "File", opened)
    with pytest.raises(ShardError, match=r"train-00000-00-\w+\.h5: damaged: its tables do not match their checksum"):
        ClipStore(prepared, "train")
