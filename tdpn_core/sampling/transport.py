"""Send objects between processes without /dev/shm: their memory is passed as a file descriptor.

A message is a file in memory (`memfd_create`) with the pickled object and its tensors. The receiver maps it, so
tensors are not copied. Such files count as memory of the process and are not bounded by any file system.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import struct
from collections.abc import Sequence
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any, cast

import torch
from torch import Tensor

_HEADER = struct.Struct("<QQ")
_ALIGNED = 64

in_worker = False
"""Whether this process sends its results to another."""


class _Stack:
    """Tensors of the same shape and type that are stacked on arrival: they are copied once, into the message."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = tensors


def stack(tensors: Sequence[Tensor]) -> Tensor:
    """Return `torch.stack(tensors)`; in a worker, a placeholder that `send` turns into it.

    Raises:
        RuntimeError: the shapes differ.
    """
    if not in_worker:
        return torch.stack(list(tensors))
    if len({(tensor.shape, tensor.dtype) for tensor in tensors}) != 1:
        raise RuntimeError(f"cannot stack tensors of shapes {[tuple(tensor.shape) for tensor in tensors]}")
    return cast(Tensor, _Stack(tensors))


def send(connection: Connection, value: object) -> None:
    """Send `value` through a duplex `connection` to a `receive`.

    Raises:
        OSError: the other end is closed, or memory or file descriptors are exhausted.
    """
    stream = io.BytesIO()
    pickler = _Pickler(stream)
    pickler.dump(value)
    with os.fdopen(os.memfd_create("tdpn-batch"), "wb", buffering=0) as file:
        for offset, tensor in pickler.placed:
            _write(file, offset, tensor.reshape(-1).view(torch.uint8).numpy().data)
        _write(file, pickler.end, stream.getbuffer())
        connection.send_bytes(_HEADER.pack(pickler.end, stream.tell()))
        reduction.send_handle(connection, file.fileno(), os.getpid())


def receive(connection: Connection) -> Any:
    """Return what `send` sent. Its tensors use the message's memory.

    Raises:
        EOFError, OSError: the other end is closed, or file descriptors are exhausted.
    """
    start, length = _HEADER.unpack(connection.recv_bytes(_HEADER.size))
    descriptor = reduction.recv_handle(connection)
    try:
        memory = mmap.mmap(descriptor, start + length)
    finally:
        os.close(descriptor)
    return _Unpickler(io.BytesIO(memory[start:]), memory).load()


def _write(file: io.FileIO, offset: int, content: memoryview) -> None:
    file.seek(offset)
    while len(content):
        content = content[file.write(content) :]


class _Pickler(pickle.Pickler):
    """Leaves out tensors and assigns each a place in the message."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, protocol=pickle.HIGHEST_PROTOCOL)
        self.placed: list[tuple[int, Tensor]] = []
        self.end = 0

    def persistent_id(self, value: Any) -> tuple[int, torch.dtype, tuple[int, ...]] | None:
        if isinstance(value, Tensor):
            return self._place([value], tuple(value.shape))
        if isinstance(value, _Stack):
            return self._place(value.tensors, (len(value.tensors), *value.tensors[0].shape))
        return None

    def _place(self, tensors: Sequence[Tensor], shape: tuple[int, ...]) -> tuple[int, torch.dtype, tuple[int, ...]]:
        first = self.end
        for tensor in tensors:
            self.placed.append((self.end, tensor.detach().contiguous()))
            self.end += tensor.numel() * tensor.element_size()
        self.end = -(-self.end // _ALIGNED) * _ALIGNED
        return first, tensors[0].dtype, shape


class _Unpickler(pickle.Unpickler):
    """Reads the pickles of our own workers; tensors are views of `memory`."""

    def __init__(self, stream: io.BytesIO, memory: mmap.mmap) -> None:
        super().__init__(stream)
        self._memory = memory

    def persistent_load(self, place: tuple[int, torch.dtype, tuple[int, ...]]) -> Tensor:
        offset, dtype, shape = place
        count = 1
        for size in shape:
            count *= size
        if count == 0:
            return torch.empty(shape, dtype=dtype)
        return torch.frombuffer(self._memory, dtype=dtype, count=count, offset=offset).view(shape)
