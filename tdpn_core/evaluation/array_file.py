"""Named arrays and a JSON header in one safetensors file with a digest.

A safetensors file is a length, a JSON table of types, shapes and offsets, and the data. Its reader checks that the
table covers the file exactly, so a damaged file cannot cause an endless loop or allocate more memory than its size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tdpn_core.errors import ScoresError
from tdpn_core.files import atomic_path, disk_error

Arrays = dict[str, npt.NDArray[Any]]
ENTRY = "tdpn_scores"
"""Key of the only metadata entry: the kind of arrays, and the digest."""

_HEADER = "header"
_START = 64  # bytes of a file that contain the entry's name, unless damaged
_HDF5 = b"\x89HDF\r\n\x1a\n"
_DAMAGED = "score the checkpoint again; this file was changed or truncated after it was written"


def write_arrays(path: Path, kind: str, header: Mapping[str, Any], arrays: Arrays) -> None:
    """Write `header` and `arrays` (numbers, any shape) to `path` atomically; `kind` names their content.

    Raises:
        TdpnError: the disk is full or the folder cannot be written.
    """
    text = json.dumps(header, allow_nan=False).encode()  # ASCII: file names may be bytes that are not valid text
    parts = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    parts[_HEADER] = np.frombuffer(text, np.uint8)  # as an array, since safetensors' own header has 100 MB at most
    with atomic_path(path) as temporary:
        try:
            temporary.touch()
            mode = temporary.stat().st_mode
            save_file(parts, temporary, metadata={ENTRY: f"{kind}\n{_digest(kind, parts)}"})
            temporary.chmod(mode)  # safetensors makes files that only their owner can read
        except SafetensorError as error:
            raise disk_error(error) from error


def read_arrays(path: Path, kind: str) -> tuple[dict[str, Any], Arrays]:
    """Read and verify the header and arrays of a file.

    Raises:
        ScoresError: the file is missing, damaged, or of another kind or format.
    """
    if not path.is_file():
        raise ScoresError("no such score file", where=path)
    if is_hdf5(path):
        what = "an HDF5 file; scores are safetensors files now, and HDF5 is not opened"
        raise ScoresError(what, where=path, hint="score the checkpoint again")
    try:
        with safe_open(path, framework="np") as file:
            stated = (file.metadata() or {}).get(ENTRY, "")
            if stated.partition("\n")[0] != kind:
                raise ScoresError(f"a safetensors file, but not {kind} of tdpn eval", where=path)
            arrays: Arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise ScoresError(f"damaged: {str(error)[:160]}", where=path, hint=_DAMAGED) from error
    if stated != f"{kind}\n{_digest(kind, arrays)}" or _HEADER not in arrays:
        raise ScoresError("damaged: its digest does not match its content", where=path, hint=_DAMAGED)
    header: dict[str, Any] = json.loads(arrays.pop(_HEADER).tobytes())
    return header, arrays


def is_arrays(path: Path) -> bool:
    """Return whether `path` was written by `write_arrays`, by its first bytes; damage is not detected."""
    return f'"{ENTRY}"'.encode() in _first_bytes(path)


def is_hdf5(path: Path) -> bool:
    """Return whether `path` is an HDF5 file, by its first bytes."""
    return _first_bytes(path).startswith(_HDF5)


def _first_bytes(path: Path) -> bytes:
    if not path.is_file():  # reading from a pipe would block
        return b""
    try:
        with path.open("rb") as file:
            return file.read(_START)
    except OSError:
        return b""


def _digest(kind: str, arrays: Arrays) -> str:
    hasher = hashlib.sha256(kind.encode())
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        hasher.update(f"\0{name}\0{values.dtype.str}\0{values.shape}\0".encode())
        hasher.update(values.reshape(-1).view(np.uint8).data if values.size else b"")
    return hasher.hexdigest()
