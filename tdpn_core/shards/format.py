"""The file format of a shard: what is written, and the only form accepted when reading.

A shard is an HDF5 file of five contiguous arrays of fixed types:

    bytes     (B,)     uint8    the consecutive items of all clips
    offsets   (I + 1,) uint64   offset of each item in `bytes`; the last one is B
    crc32     (I,)     uint32   CRC-32 of each item
    times     (T,)     float64  seconds from the first frame, for the clips whose frames are uneven
    clips     (N,)     table    one row per clip, see `clip_type`

The kind of item depends on `packing`: one JPEG per frame (`jpeg`), one H.264 file per clip (`video`), or two grey JPEGs
per frame with the optical flow's u and v (`flow`).

The attributes are `schema`, `dataset`, `split`, `packing`, `classes` and `settings` (JSON), `classes_digest`,
`items_digest` (of offsets, crc32 and times) and `index_digest` (of all the other attributes and `clips`).

`bytes` is at the end and is not written by HDF5: `build` returns everything before it, and the items follow unchanged.
So a shard of any size is streamed with plain writes, which raise an error on a full disk, where HDF5 would crash the
process.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import h5py
import numpy as np
from numpy.typing import NDArray

from tdpn_core.errors import ShardError

SCHEMA = 2
EVEN = -1  # `first_time` of a clip with evenly spaced frames

Packing = Literal["jpeg", "video", "flow"]
PACKINGS: tuple[Packing, ...] = get_args(Packing)

_ATTRIBUTES = ("schema", "dataset", "split", "packing", "classes", "classes_digest", "settings", "items_digest")
_NO_ADDRESS = b"\xff" * 8
_END_OF_FILE = slice(40, 48)  # in the superblock of version 0
_ALIGNMENT = 4096
_ARRAYS = {"bytes": "u1", "offsets": "<u8", "crc32": "<u4", "times": "<f8"}
_NUMBERS = (
    ("first_item", "<u8"),
    ("items", "<u4"),
    ("frames", "<u4"),
    ("fps", "<f8"),
    ("first_time", "<i8"),
    ("width", "<u4"),
    ("height", "<u4"),
)


@dataclass(frozen=True)
class Extent:
    """Position of an array in the file, so that parts of it can be read without HDF5."""

    start: int
    length: int
    """Number of items."""


@dataclass(frozen=True)
class Index:
    """Content of a shard except the items."""

    clips: NDArray[np.void]
    """(N,) rows of `clip_type`."""

    attributes: dict[str, str]
    extents: dict[str, Extent]
    digest: str
    """Verified `index_digest`."""


def clip_type(heads: Mapping[str, int | None], id_bytes: int, source_bytes: int) -> np.dtype[np.void]:
    """Return the type of a clip's row: names as bytes of the file system, labels by head (-1: none).

    `heads` has None for a head with one class per clip, and for multi-label data the number of classes: the row then
    has 1 for each class of the clip and 0 for the others.
    """
    names: list[Any] = [("id", f"S{max(id_bytes, 1)}"), ("source", f"S{max(source_bytes, 1)}"), ("sha256", "S64")]
    labels = [
        (f"label_{head}", "<i4") if classes is None else (f"label_{head}", "i1", (classes,))
        for head, classes in heads.items()
    ]
    return np.dtype([*names, *_NUMBERS, *labels])


def build(
    clips: NDArray[np.void],
    sizes: NDArray[np.int64],
    crc32: NDArray[np.uint32],
    times: NDArray[np.float64],
    attributes: Mapping[str, str],
) -> tuple[bytes, str]:
    """Return everything of a shard before the items, deterministic for equal input, and its index digest.

    Args:
        clips: (N,) rows of `clip_type`.
        sizes: (I,) sizes of the items of all clips, in bytes.
        crc32: (I,) checksums of the items.
        times: (T,) times of the uneven clips.
        attributes: `dataset`, `split`, `packing`, `classes`, `classes_digest`, `settings`.
    """
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype("<u8")
    crc = crc32.astype("<u4")
    complete = {**attributes, "schema": str(SCHEMA), "items_digest": items_digest(offsets, crc, times)}
    digest = index_digest(complete, clips)
    content = int(offsets[-1])
    with h5py.File.in_memory(libver="earliest") as file:
        for name, value in (*complete.items(), ("index_digest", digest)):
            file.attrs[name] = np.bytes_(value.encode())
        file["offsets"], file["crc32"], file["times"], file["clips"] = offsets, crc, times.astype("<f8"), clips
        file.create_dataset("bytes", (content,), "u1")  # not written here, so HDF5 does not allocate it
        file.flush()
        image = file.id.get_file_image()
    return _with_content_behind(image, content), digest


def _with_content_behind(image: bytes, content: int) -> bytes:
    """Set the address of the unallocated array of `content` bytes in an HDF5 file to the file's end.

    This sets two numbers of the format's earliest version (HDF5 File Format Specification 3.0, IV.A.2.i and II.A, both
    without a checksum): the address in the array's layout message, and the end of file in the superblock.
    """
    layout = b"\x03\x01" + _NO_ADDRESS + content.to_bytes(8, "little")  # version 3, contiguous, address, size
    end = -(-len(image) // _ALIGNMENT) * _ALIGNMENT
    if image.count(layout) != 1 or int.from_bytes(image[_END_OF_FILE], "little") != len(image):
        raise AssertionError("HDF5 did not write its earliest file format version")
    moved = bytearray(image.ljust(end, b"\0"))
    place = image.index(layout) + 2
    moved[place : place + 8] = end.to_bytes(8, "little")
    moved[_END_OF_FILE] = (end + content).to_bytes(8, "little")
    return bytes(moved)


class _Headed(io.RawIOBase):
    """A file of `size` bytes that begins with `head` followed by zeros, without disk access."""

    def __init__(self, head: bytes, size: int) -> None:
        self._head, self._size, self._position = head, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(start + offset, 0)
        return self._position

    def readinto(self, buffer: Any) -> int:
        count = max(min(len(buffer), self._size - self._position), 0)
        buffer[:count] = self._head[self._position : self._position + count].ljust(count, b"\0")
        self._position += count
        return count


def read_index(path: Path, head: bytes | None = None) -> Index:
    """Verify that a shard has exactly the form above and an intact index, and return the index.

    Args:
        path: the file.
        head: its verified bytes before the items; HDF5 then reads these instead of the file.

    Raises:
        ShardError: it is damaged, of another version, or contains anything but the five arrays.
    """
    try:
        source = path if head is None else _Headed(head, path.stat().st_size)
        with h5py.File(source, "r", **({"locking": False} if head is None else {})) as file:
            return _checked_index(file, path)
    except ShardError:
        raise
    except Exception as error:  # h5py raises a dozen types on damaged files
        raise ShardError(f"damaged: {_brief(error)}", where=path) from error


def index_digest(attributes: Mapping[str, str], clips: NDArray[np.void]) -> str:
    """Return the SHA-256 of the attributes and the table of clips."""
    columns = [(name, *_form(kind[0])) for name, kind in (clips.dtype.fields or {}).items()]
    text = json.dumps([[attributes[name] for name in _ATTRIBUTES], columns])
    return hashlib.sha256(text.encode() + clips.tobytes()).hexdigest()


def _form(kind: np.dtype[Any]) -> tuple[str, ...]:
    return (kind.str,) if kind.subdtype is None else (kind.base.str, *map(str, kind.shape))


def items_digest(offsets: NDArray[np.uint64], crc: NDArray[np.uint32], times: NDArray[np.float64]) -> str:
    """Return the SHA-256 of the table of items."""
    return hashlib.sha256(offsets.tobytes() + crc.tobytes() + times.tobytes()).hexdigest()


def _checked_index(file: h5py.File, path: Path) -> Index:
    schema = _text(file.attrs, "schema", path)
    if schema != str(SCHEMA):
        raise ShardError(f"is of schema {schema}, not {SCHEMA}", where=path, hint="prepare the data again")
    if set(file) != {*_ARRAYS, "clips"}:
        raise ShardError(f"contains {sorted(file)}, which is not a shard", where=path)
    size = path.stat().st_size
    extents = {name: _extent(file, name, np.dtype(kind), size, path) for name, kind in _ARRAYS.items()}
    _extent(file, "clips", _clip_type_of(file, path), size, path)
    attributes = {name: _text(file.attrs, name, path) for name in (*_ATTRIBUTES, "index_digest")}
    digest = attributes.pop("index_digest")
    if attributes["packing"] not in PACKINGS:
        raise ShardError(f"is packed as {attributes['packing']!r}, not one of {', '.join(PACKINGS)}", where=path)
    clips: NDArray[np.void] = file["clips"][()]
    if index_digest(attributes, clips) != digest:
        raise ShardError("damaged: its index does not match its checksum", where=path)
    if extents["offsets"].length != extents["crc32"].length + 1:
        raise ShardError("damaged: its tables of items differ in length", where=path)
    return Index(clips, attributes, extents, digest)


def _extent(file: h5py.File, name: str, kind: np.dtype[Any], file_bytes: int, path: Path) -> Extent:
    """Return the position of an array; refuse anything that points outside of the file or exceeds its size."""
    link = file.get(name, getlink=True)
    data = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(data, h5py.Dataset) or data.ndim != 1 or data.dtype != kind:
        raise ShardError(f"{name!r} is not an array of a shard", where=path)
    form = data.id.get_create_plist()
    if form.get_layout() != h5py.h5d.CONTIGUOUS or form.get_external_count() or form.get_nfilters():
        raise ShardError(f"{name!r} is not stored contiguously in the file", where=path)
    start, length = data.id.get_offset(), int(data.shape[0])
    if length and (start is None or start + length * kind.itemsize > file_bytes):
        raise ShardError(f"{name!r} is larger than the file", where=path)
    return Extent(start or 0, length)


def _clip_type_of(file: h5py.File, path: Path) -> np.dtype[np.void]:
    """Return the declared type of `clips`, if `clip_type` can produce it."""
    data = file.get("clips") if isinstance(file.get("clips", getlink=True), h5py.HardLink) else None
    kind = data.dtype if isinstance(data, h5py.Dataset) else np.dtype("u1")
    names = kind.names or ()
    if names[:2] == ("id", "source"):
        fields = kind.fields or {}
        heads = {name.removeprefix("label_"): fields[name][0].shape for name in names if name.startswith("label_")}
        sizes = {head: shape[0] if len(shape) == 1 else None for head, shape in heads.items()}
        expected = clip_type(sizes, fields["id"][0].itemsize, fields["source"][0].itemsize)
        if kind == expected:
            return expected
    raise ShardError("'clips' is not a table of a shard", where=path)


def _text(attributes: h5py.AttributeManager, name: str, path: Path) -> str:
    kind = attributes.get_id(name).dtype
    if kind.kind != "S" or h5py.check_string_dtype(kind).length is None:
        raise ShardError(f"attribute {name!r} is not a fixed text", where=path)
    return bytes(attributes[name]).decode()


def _brief(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
