import io

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdpn_core.errors import ShardError
from tdpn_core.shards.format import build, clip_type, read_index


@pytest.fixture
def shard(shard_of):
    return shard_of("train", 0)


def soft(file):
    file["crc32"] = h5py.SoftLink("/offsets")


def outside(file):
    file["crc32"] = h5py.ExternalLink("/etc/passwd", "/x")


def external(file):
    file.create_dataset("crc32", (8,), "<u4", external=[("/etc/passwd", 0, 32)])


def virtual(file):
    layout = h5py.VirtualLayout((8,), "<u4")
    layout[:] = h5py.VirtualSource("other.h5", "crc32", (8,))
    file.create_virtual_dataset("crc32", layout)


def chunked(file):
    file.create_dataset("crc32", (8,), "<u4", chunks=(4,), compression="gzip")


def bomb(file):
    file.create_dataset("crc32", (1 << 40,), "<u4")


def text(file):
    file.create_dataset("crc32", (8,), h5py.string_dtype())


def lists(file):
    file.create_dataset("crc32", (8,), h5py.vlen_dtype(np.uint32))


def references(file):
    file.create_dataset("crc32", (8,), h5py.ref_dtype)


def group(file):
    file.create_group("crc32")


def other_type(file):
    file["crc32"] = np.zeros(8, "<f4")


def square(file):
    file["crc32"] = np.zeros((4, 2), "<u4")


def absent(file):
    pass


@pytest.mark.parametrize(
    "make",
    [soft, outside, external, virtual, chunked, bomb, text, lists, references, group, other_type, square, absent],
)
def test_anything_but_a_plain_array_is_refused_before_it_is_read(shard, make):
    with h5py.File(shard, "r+") as file:
        del file["crc32"]
        make(file)
    with pytest.raises(ShardError, match=r"train-00000-00-\w+\.h5"):
        read_index(shard)


def test_more_than_the_arrays_of_a_shard_is_refused(shard):
    with h5py.File(shard, "r+") as file:
        file["more"] = np.zeros(3)
    with pytest.raises(ShardError, match="which is not a shard"):
        read_index(shard)


def test_a_table_of_other_columns_is_refused(shard):
    with h5py.File(shard, "r+") as file:
        del file["clips"]
        file["clips"] = np.zeros(2, [("id", "S3"), ("x", "f8")])
    with pytest.raises(ShardError, match="'clips' is not a table"):
        read_index(shard)


def test_a_table_with_texts_of_any_length_is_refused(shard):
    kind = np.dtype([("id", h5py.string_dtype()), *clip_type({"action": None}, 3, 3).descr[1:]])
    with h5py.File(shard, "r+") as file:
        del file["clips"]
        file.create_dataset("clips", (2,), kind)
    with pytest.raises(ShardError, match="'clips' is not a table"):
        read_index(shard)


def test_a_changed_attribute_or_row_breaks_the_checksum(shard):
    with h5py.File(shard, "r+") as file:
        file.attrs["split"] = np.bytes_(b"test")
    with pytest.raises(ShardError, match="index does not match its checksum"):
        read_index(shard)


def test_an_attribute_of_any_length_is_refused(shard):
    with h5py.File(shard, "r+") as file:
        file.attrs["split"] = "train"
    with pytest.raises(ShardError, match="attribute 'split' is not a fixed text"):
        read_index(shard)


def test_another_version_says_what_to_do(shard):
    with h5py.File(shard, "r+") as file:
        file.attrs["schema"] = np.bytes_(b"7")
    with pytest.raises(ShardError, match="is of schema 7, not 2; prepare the data again"):
        read_index(shard)


@pytest.mark.parametrize("content", [b"", b"no hdf5", b"\x89HDF\r\n\x1a\n" + bytes(500)])
def test_what_is_no_hdf5_file_is_refused(tmp_path, content):
    path = tmp_path / "x.h5"
    path.write_bytes(content)
    with pytest.raises(ShardError, match="damaged"):
        read_index(path)


def test_a_shard_is_plain_hdf5_with_documented_arrays(shard, clips):
    sizes = [*clips[0].packed.sizes, *clips[1].packed.sizes]
    with h5py.File(shard, "r") as file:
        assert sorted(file) == ["bytes", "clips", "crc32", "offsets", "times"]
        assert file["bytes"][()].tobytes() == clips[0].data + clips[1].data
        assert file["offsets"][()].tolist() == np.cumsum([0, *sizes]).tolist()
        assert file.attrs["split"] == b"train"
        assert file.attrs["packing"] == b"jpeg"
        assert file["bytes"].id.get_offset() % 4096 == 0
        assert file["bytes"].id.get_offset() + len(file["bytes"]) == shard.stat().st_size
        assert file["clips"]["frames"].tolist() == [3, 5]


def test_an_unknown_packing_is_refused(shard):
    with h5py.File(shard, "r+") as file:
        file.attrs["packing"] = np.bytes_(b"gifs")
    with pytest.raises(ShardError, match="packed as 'gifs', not one of jpeg, video, flow"):
        read_index(shard)


@given(st.lists(st.integers(1, 1 << 40), min_size=1, max_size=5), st.integers(0, 3))
def test_content_is_found_behind_any_head(sizes, uneven):
    """Also where the file would be terabytes: only the numbers in its head are looked at."""
    table = np.zeros(len(sizes), clip_type({"action": None}, 3, 3))
    attributes = dict.fromkeys(("dataset", "split", "packing", "classes", "classes_digest", "settings"), "x")
    head, _ = build(table, np.array(sizes), np.zeros(len(sizes), np.uint32), np.arange(uneven * 1.0), attributes)
    with h5py.File(Sparse(io.BytesIO(head), len(head) + sum(sizes)), "r") as file:
        assert file["bytes"].id.get_offset() == len(head)
        assert file["bytes"].shape == (sum(sizes),)
        assert file["times"][()].tolist() == list(range(uneven))


class Sparse(io.RawIOBase):
    """A file of `size` bytes, all zero behind those of `head`."""

    def __init__(self, head, size):
        self.head, self.size, self.at = head.getvalue(), size, 0

    def seekable(self):
        return True

    def readable(self):
        return True

    def seek(self, offset, whence=0):
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at

    def tell(self):
        return self.at

    def readinto(self, buffer):
        data = self.head[self.at : self.at + len(buffer)]
        buffer[: len(data)] = data
        buffer[len(data) :] = bytes(len(buffer) - len(data))
        self.at += len(buffer)
        return len(buffer)
