"""Tune the C library's allocator for programs that repeatedly allocate and free the same large blocks."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_* of malloc.h
_SET_BY_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> None:
    """Make glibc reuse freed memory instead of returning every large block to the kernel.

    Each activation is a block of megabytes: if newly allocated, the kernel faults in and clears its pages, a fifth of
    the processor time of a forward pass. The process keeps its maximum size. If the user has tuned the allocator, or
    the C library is not glibc, nothing is changed.
    """
    _set(mmap=1 << 30, trim=(1 << 31) - 1)


def hand_back_memory() -> None:
    """Restore glibc's default behaviour, with the thresholds that it reaches in a program with large blocks."""
    _set(mmap=32 << 20, trim=64 << 20)


def _set(*, mmap: int, trim: int) -> None:
    if any(name in os.environ for name in _SET_BY_USER):
        return
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, mmap)
        library.mallopt(_TRIM_THRESHOLD, trim)
