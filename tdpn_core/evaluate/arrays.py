"""Named arrays and a JSON header in one HDF5 file, under one digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from tdpn_core.errors import ScoresError
from tdpn_core.files import atomic_path

Arrays = dict[str, npt.NDArray[Any]]
_FORMAT = "tdpn"
_DAMAGED = "score again; this file was changed or cut after it was written"


def write_arrays(path: Path, kind: str, header: Mapping[str, Any], arrays: Arrays) -> None:
    """Write `header` and `arrays` to `path` atomically; `kind` says what they are.

    Raises:
        TdpnError: the disk is full or the folder cannot be written.
    """
    text = json.dumps(header, ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs[_FORMAT] = kind
        file.attrs["digest"] = _digest(text, arrays)
        file["header"] = np.frombuffer(text.encode(), np.uint8)  # an attribute holds 64 KB at most
        for name, values in arrays.items():
            file[name] = values


def read_arrays(path: Path, kind: str) -> tuple[dict[str, Any], Arrays]:
    """The header and arrays of a file, verified.

    Raises:
        ScoresError: missing, damaged, or of another kind.
    """
    if not path.is_file():
        raise ScoresError("no such file of scores", where=path)
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get(_FORMAT) != kind:
                raise ScoresError("an HDF5 file, but not scores of tdpn eval", where=path)
            stated = file.attrs["digest"]
            text = bytes(file["header"][()]).decode()
            arrays: Arrays = {}
            file.visititems(lambda name, item: _take(arrays, name, item))
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise ScoresError(f"damaged: {str(error)[:160]}", where=path, hint=_DAMAGED) from error
    del arrays["header"]
    if stated != _digest(text, arrays):
        raise ScoresError("damaged: its digest does not match its content", where=path, hint=_DAMAGED)
    header: dict[str, Any] = json.loads(text)
    return header, arrays


def _take(arrays: Arrays, name: str, item: Any) -> None:
    if isinstance(item, h5py.Dataset):
        arrays[name] = item[()]


def _digest(header: str, arrays: Arrays) -> str:
    hasher = hashlib.sha256(header.encode())
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        hasher.update(f"\0{name}\0{values.dtype.str}\0{values.shape}\0".encode())
        hasher.update(values.view(np.uint8).reshape(-1).data if values.size else b"")
    return hasher.hexdigest()
