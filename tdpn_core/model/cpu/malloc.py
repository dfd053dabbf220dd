"""The C library's allocator, set for programs that take and free the same large blocks over and over."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_* of malloc.h
_SET_BY_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> None:
    """Let glibc keep what was freed for the next request, instead of handing every large block back to the kernel.

    Each activation is a block of megabytes: if newly allocated, the kernel faults in and clears its pages, which
    is a fifth of the processor time of a forward pass. The process stays as large as it was at most. Where the user
    has tuned the allocator, or the C library is another, nothing is changed.
    """
    _set(mmap=1 << 30, trim=(1 << 31) - 1)


def hand_back_memory() -> None:
    """As glibc does by itself: its thresholds are those that they grow to in a program of large blocks."""
    _set(mmap=32 << 20, trim=64 << 20)


def _set(*, mmap: int, trim: int) -> None:
    if any(name in os.environ for name in _SET_BY_USER):
        return
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, mmap)
        library.mallopt(_TRIM_THRESHOLD, trim)
