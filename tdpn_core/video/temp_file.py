"""The file that a clip's items are written to, one after another, before they are moved into a shard."""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from tdpn_core.errors import TdpnError

_CHUNK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_LOG = re.compile(r"No space left on device|Disk quota exceeded|File too large")


@contextmanager
def scratch_file(path: Path) -> Iterator[IO[bytes]]:
    """Open `path` for writing and reading; remove it on any exception.

    Raises:
        TdpnError: the disk is full, or the file cannot be written. Not `ClipError`, since the clip is not at fault.
    """
    try:
        with path.open("w+b", buffering=_CHUNK) as file:
            yield file
    except OSError as error:
        _remove(path)
        if error.errno in _FULL:
            raise disk_full(path) from error
        raise TdpnError(f"cannot write: {error.strerror or error}", where=path) from error
    except BaseException:
        _remove(path)
        raise


def disk_full(path: Path) -> TdpnError:
    """Return the error for a clip that does not fit on the disk."""
    free = shutil.disk_usage(path.parent).free
    hint = "free some space, or choose another folder"
    return TdpnError(f"disk full writing a clip, {free / 1e6:.0f} MB free", where=path, hint=hint)


def tells_full_disk(log: str) -> bool:
    """Return whether ffmpeg's log reports a full disk."""
    return _FULL_LOG.search(log) is not None


def checksums(file: IO[bytes], sizes: NDArray[np.int64]) -> tuple[NDArray[np.uint32], str]:
    """Return the (K,) CRC-32 of each item and the SHA-256 of all, in one pass.

    Args:
        file: the items, one after another from its start.
        sizes: (K,) bytes of each item.
    """
    file.seek(0)
    whole = hashlib.sha256()
    crcs = np.zeros(len(sizes), np.uint32)
    for index, size in enumerate(sizes.tolist()):
        crc = 0
        while size:
            chunk = file.read(min(size, _CHUNK))
            if not chunk:
                raise TdpnError("cannot be read back: it is shorter than what was written", where=file.name)
            crc = zlib.crc32(chunk, crc)
            whole.update(chunk)
            size -= len(chunk)
        crcs[index] = crc
    return crcs, whole.hexdigest()


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
