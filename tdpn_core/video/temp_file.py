"""The file that a clip's items are written to, one after the other, on their way into a shard."""

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
    """Open `path` for writing and reading; on any exception it is removed.

    Raises:
        TdpnError: the disk is full, or the file cannot be written. Not the clip's fault, so no `ClipError`.
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
    """The error of a clip for which there is no room."""
    free = shutil.disk_usage(path.parent).free
    hint = "free some space, or choose another folder"
    return TdpnError(f"disk full writing a clip, {free / 1e6:.0f} MB free", where=path, hint=hint)


def tells_full_disk(log: str) -> bool:
    """Whether ffmpeg's log says that it could not write for want of room."""
    return _FULL_LOG.search(log) is not None


def checksums(file: IO[bytes], sizes: NDArray[np.int64]) -> tuple[NDArray[np.uint32], str]:
    """(K,) CRC-32 of each item and the sha256 of all, in one pass.

    Args:
        file: the items one after the other, from its start.
        sizes: (K,) bytes of each.
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
