import fcntl
import multiprocessing
import pickle
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
import simplejpeg

from tdpn_core.errors import ShardError
from tdpn_core.shards import ClipStore, load_manifest
from tdpn_core.shards.verify import verify


def content(store: ClipStore) -> list[list[bytes]]:
    return [store.read(clip, range(store.counts[clip])) for clip in range(len(store))]


def test_what_was_packed_is_read(prepared, clips):
    store = ClipStore(prepared, "train")
    assert store.ids == [clip.packed.id for clip in clips]
    assert store.counts.tolist() == [3, 5, 2, 4]
    assert store.fps.tolist() == [25.0] * 4
    assert store.labels["action"].tolist() == [0, 1, 0, 0]
    assert store.classes == {"action": ["jump", "run"]}
    assert [store.size(n) for n in range(4)] == [(8, 12)] * 4
    assert store.source(2) == clips[2].packed.source
    assert len(ClipStore(prepared, "val")) == 1
    for number, clip in enumerate(clips):
        assert b"".join(store.read(number, range(store.counts[number]))) == clip.data


def test_frames_come_in_the_order_asked_for_with_repeats(prepared):
    store = ClipStore(prepared, "train")
    whole = store.read(1, range(5))
    assert store.read(1, [4, 0, 0, 2]) == [whole[4], whole[0], whole[0], whole[2]]
    assert store.read(1, []) == []


def test_frames_are_decoded_in_the_order_asked_for(prepared):
    store = ClipStore(prepared, "train")
    pixels = store.decode(1, [4, 0, 0])
    assert pixels.shape == (3, 8, 12, 3)
    expected = [simplejpeg.decode_jpeg(store.read(1, [frame])[0]) for frame in (4, 0, 0)]
    assert np.array_equal(pixels, expected)
    assert store.decode(1, []).shape == (0, 8, 12, 3)


def test_times_are_those_of_uneven_clips_and_a_grid_for_others(prepared, clips):
    store = ClipStore(prepared, "train")
    assert np.array_equal(store.times(1), clips[1].packed.times)
    assert store.times(0).tolist() == [0, 0.04, 0.08]


@pytest.mark.parametrize("frames", [[3], [-1], [0, 99]])
def test_a_frame_that_is_not_there_is_an_index_error(prepared, frames):
    with pytest.raises(IndexError, match="has items 0 to 2"):
        ClipStore(prepared, "train").read(0, frames)
    with pytest.raises(IndexError, match="has frames 0 to 2"):
        ClipStore(prepared, "train").decode(0, frames)


def test_a_split_that_is_not_there_names_those_that_are(prepared):
    with pytest.raises(ShardError, match="has no test clips, only train, val"):
        ClipStore(prepared, "test")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_store_that_was_used_goes_on_in_child_processes(prepared, method):
    store = ClipStore(prepared, "train")
    expected = content(store)
    clips = [(clip, range(store.counts[clip])) for clip in range(len(store))]
    with multiprocessing.get_context(method).Pool(2) as children:
        assert children.starmap(store.read, clips * 2, chunksize=len(clips)) == expected * 2


def test_threads_read_at_the_same_time(prepared):
    store, found = ClipStore(prepared, "train"), []
    threads = [threading.Thread(target=lambda: found.append(content(store))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [content(store)] * 8


def test_no_file_is_left_open(prepared):
    before = len(list(Path("/dev/fd").iterdir()))
    store = pickle.loads(pickle.dumps(ClipStore(prepared, "train")))
    content(store)
    assert len(list(Path("/dev/fd").iterdir())) == before


@pytest.mark.parametrize("locking", ["TRUE", "FALSE", "BEST_EFFORT"])
def test_reading_needs_no_locks(prepared, shard_of, locking, monkeypatch):
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", locking)
    with shard_of("train", 0).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert len(content(ClipStore(prepared, "train"))) == 4


def test_flipped_bits_never_give_wrong_frames(prepared, shard_of, repetitions):
    """Bytes of the tables and of HDF5's own structure, and a sample of the frames: an error, or the same content."""
    path = shard_of("train", 0)
    original = path.read_bytes()
    expected = content(ClipStore(prepared, "train"))
    facts = ClipStore(prepared, "train")
    with h5py.File(path, "r") as file:
        start = file["bytes"].id.get_offset()
        stop = start + len(file["bytes"])
    random = np.random.default_rng(0)
    around = [*range(start), *range(stop, len(original))]
    step = 2 if repetitions == 1 else 1
    positions = [p for p in around if (original[p] and p % step == 0) or p % (16 * step) == 1]
    positions += random.integers(start, stop, 60 * repetitions).tolist()
    caught = 0
    for position in positions:
        damaged = bytearray(original)
        damaged[position] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:
            store = ClipStore(prepared, "train")
            found = content(store)
        except ShardError:
            caught += 1
            continue
        assert found == expected, position
        assert store.ids == facts.ids
        assert store.labels["action"].tolist() == facts.labels["action"].tolist()
        assert store.times(1).tolist() == facts.times(1).tolist()
    assert caught > 200


def test_damage_after_opening_is_an_error_that_names_shard_and_clip(prepared, shard_of, clips):
    store = ClipStore(prepared, "train")
    store.read(1, [0])
    path = shard_of("train", 0)
    damaged = bytearray(path.read_bytes())
    position = damaged.index(clips[1].data) + 10
    damaged[position] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ShardError, match=r"train-00000-00-\w+\.h5: damaged: item 0 of clip 'clip 1"):
        store.read(1, [0])
    assert store.read(1, [1])
    path.unlink()
    with pytest.raises(ShardError, match="cannot read clip 'clip 1"):
        store.read(1, [1])


def test_a_cut_shard_is_refused_at_any_length(prepared, shard_of, repetitions):
    path = shard_of("train", 0)
    original = path.read_bytes()
    for length in range(0, len(original), len(original) // (40 * repetitions)):
        path.write_bytes(original[:length])
        with pytest.raises(ShardError, match=rf"train-00000-00-\w+\.h5: damaged: {length} bytes, not {len(original)}"):
            ClipStore(prepared, "train")
        with pytest.raises(ShardError, match=rf"train-00000-00-\w+\.h5 has {length} bytes"):
            verify(prepared)


def test_missing_and_exchanged_shards_are_refused(prepared, shard_of):
    first, second = shard_of("train", 0), shard_of("train", 1)
    kept = second.read_bytes()
    second.unlink()
    with pytest.raises(ShardError, match=r"train-00001-00-\w+\.h5: cannot be read"):
        ClipStore(prepared, "train")
    with pytest.raises(ShardError, match=r"train-00001-00-\w+\.h5 is missing"):
        verify(prepared)
    second.write_bytes(first.read_bytes())
    with pytest.raises(ShardError, match=r"train-00001-00-\w+\.h5"):
        ClipStore(prepared, "train")
    second.write_bytes(kept)
    (prepared / "more-00000.h5").write_bytes(kept)
    with pytest.raises(ShardError, match=r"more-00000\.h5 is not listed"):
        verify(prepared)


def test_verify_accepts_what_was_written_and_finds_any_flipped_bit(prepared, shard_of, repetitions):
    assert verify(prepared).digest == load_manifest(prepared).digest
    path = shard_of("val", 0)
    original = path.read_bytes()
    for position in np.random.default_rng(1).integers(len(original), size=50 * repetitions):
        damaged = bytearray(original)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ShardError, match=r"val-00000-00-\w+\.h5 does not match its sha256"):
            verify(prepared)
