"""Batches from worker processes, in an exact order, with errors that name the clip.

PyTorch's `DataLoader` needs /dev/shm for its batches and even for its locks; in containers it has 64 MB or is missing.
These workers have one socket each and no lock: batches are sent with `transport`.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import multiprocessing
import os
import signal
import struct
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import connection
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from tdpn_core.errors import ClipError, TdpnError
from tdpn_core.file_descriptors import ensure_descriptors
from tdpn_core.sampling import transport

AHEAD = 2
"""Number of batches requested from each worker in advance."""

ORPHAN_SECONDS = 5.0
"""Interval at which an idle worker checks that its parent is alive."""

_IDLE = -1
_POSITION = struct.Struct("<q")

Item = TypeVar("Item")
ItemOut = TypeVar("ItemOut", covariant=True)
Collated = TypeVar("Collated")


class Items(Protocol[ItemOut]):
    """A data set with an item per key."""

    def __getitem__(self, key: Any, /) -> ItemOut:
        """Return the item of a clip number or (visit, clip)."""


class _Failure(NamedTuple):
    """What a worker sends instead of a batch."""

    error: Exception


class WorkerLoader(Generic[Item, Collated]):
    """Batches of `dataset` in the order of `batches`, lists of keys: clip numbers or (visit, clip).

    `ids` are the clips' names. It can be iterated repeatedly with the same workers, which end with the loader or at an
    error. With `pin`, tensors are in page-locked memory. `timeout` is the longest wait for a batch, in seconds.

    Raises:
        TdpnError: the limit of open files of this process is too low.
    """

    def __init__(
        self,
        dataset: Items[Item],
        ids: Sequence[str],
        batches: Iterable[list[Any]],
        collate: Callable[[Sequence[Item]], Collated],
        *,
        workers: int,
        pin: bool,
        timeout: float,
    ) -> None:
        ensure_descriptors(workers)
        self._dataset = dataset
        self._ids = ids
        self._batches = batches
        self._collate = collate
        self._count = workers
        self._pin = _Pinning() if pin else None
        self._timeout = timeout
        self._workers: list[_Worker] = []

    def __iter__(self) -> Iterator[Collated]:
        if self._count == 0:
            for keys in self._batches:
                batch = self._collate([self._dataset[key] for key in keys])
                yield self._pin.now(batch) if self._pin else batch
            return
        try:
            yield from self._received()
        except GeneratorExit:
            raise  # the epoch was abandoned: the workers continue with the next one
        except BaseException:
            self._end()
            raise

    def _received(self) -> Iterator[Collated]:
        """Yield the batches of one epoch, each from the next worker in turn."""
        if not self._workers:
            self._start()
        for worker in self._workers:
            worker.forget()
        keys, turns = iter(self._batches), itertools.cycle(self._workers)
        order: deque[_Worker] = deque()

        def ask() -> None:
            if (batch := next(keys, None)) is not None:
                order.append(next(turns))
                with self._watched(order[-1]):
                    order[-1].ask(batch)

        def take() -> Collated:
            batch = self._next(order.popleft())
            ask()
            return batch

        for _ in range(AHEAD * self._count):
            ask()
        pinned: Future[Collated] | None = None
        while order or pinned:
            batch = pinned.result() if pinned else self._pin.now(take()) if self._pin else take()
            pinned = self._pin.begin(take()) if self._pin and order and order[0].ready() else None
            yield batch

    def _next(self, worker: _Worker) -> Collated:
        """Return the oldest batch requested from `worker` in this epoch."""
        while True:
            wanted = worker.wanted.popleft()
            with self._watched(worker):
                answer = worker.answer(self._timeout)
            if isinstance(answer, _Failure) and wanted:
                raise answer.error
            if wanted:
                batch: Collated = answer
                return batch

    @contextlib.contextmanager
    def _watched(self, worker: _Worker) -> Iterator[None]:
        """Convert the loss of `worker` into an error that names the clip it was processing."""
        try:
            yield
        except (OSError, EOFError) as error:
            clip = worker.clip()
            raise ClipError(
                f"a loader worker died or hung ({worker.fate(error)})",
                where=self._ids[clip] if clip is not None else None,
                hint="--workers 0 shows the cause; if memory ran out, use fewer --workers or a smaller --batch-size",
            ) from error

    def _start(self) -> None:
        for number in range(self._count):
            earlier = [worker.connection for worker in self._workers]
            self._workers.append(_Worker(number, self._dataset, self._collate, earlier))
        weakref.finalize(self, _end_all, self._workers, os.getpid())

    def _end(self) -> None:
        _end_all(self._workers, os.getpid())


class _Worker:
    """A worker process, as seen by its parent."""

    def __init__(
        self, number: int, dataset: Items[Any], collate: Callable[[Any], Any], earlier: list[connection.Connection]
    ) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        self.wanted: deque[bool] = deque()
        """One entry per batch requested and not yet received: whether it belongs to the current epoch."""
        self._position = mmap.mmap(-1, _POSITION.size)
        _POSITION.pack_into(self._position, 0, _IDLE)
        # forked: the data set is shared, and nothing has to be imported again
        self.process = multiprocessing.get_context("fork").Process(
            target=_serve,
            args=(theirs, [*earlier, self.connection], os.getpid(), dataset, collate, self._position),
            name=f"tdpn-loader-{number}",
            daemon=True,
        )
        self.process.start()
        theirs.close()

    def ask(self, keys: list[Any]) -> None:
        self.connection.send(keys)
        self.wanted.append(True)

    def forget(self) -> None:
        """Mark pending batches as belonging to an abandoned epoch."""
        self.wanted = deque(False for _ in self.wanted)

    def ready(self) -> bool:
        """Whether its next batch of this epoch has arrived."""
        return self.wanted[0] and self.connection.poll()

    def answer(self, timeout: float) -> Any:
        """Return its next answer.

        Raises:
            EOFError, OSError: the worker died.
            TimeoutError: the worker did not answer in time.
        """
        if not connection.wait([self.connection, self.process.sentinel], timeout):
            raise TimeoutError(f"no batch within {timeout:.0f} s")
        return transport.receive(self.connection)

    def clip(self) -> int | None:
        """Return the clip that it is processing."""
        (clip,) = _POSITION.unpack_from(self._position)
        return int(clip) if clip != _IDLE else None

    def fate(self, error: Exception) -> str:
        """Return why it does not answer."""
        if isinstance(error, TimeoutError):
            return str(error)
        self.process.join(1.0)
        code = self.process.exitcode
        if code is None:
            return str(error) or type(error).__name__
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def _end_all(workers: list[_Worker], owner: int) -> None:
    """End worker processes, including hung ones, which have nothing to save. Only their parent process may do this."""
    if os.getpid() != owner:
        return
    for worker in workers:
        worker.connection.close()
        worker.process.terminate()
    for worker in workers:
        worker.process.join(2.0)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.process.close()
    workers.clear()


def _serve(
    own: connection.Connection,
    inherited: list[connection.Connection],
    parent: int,
    dataset: Items[Any],
    collate: Callable[[Any], Any],
    position: mmap.mmap,
) -> None:
    """Main loop of a worker: make batches for keys until the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # also ends a hung worker
    torch.set_num_threads(1)
    transport.in_worker = True
    for other in inherited:
        other.close()  # otherwise the end of the parent is not detected
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            while not own.poll(ORPHAN_SECONDS):
                if os.getppid() != parent:
                    return
            _send(own, _made(own.recv(), dataset, collate, position))


def _made(keys: list[Any], dataset: Items[Any], collate: Callable[[Any], Any], position: mmap.mmap) -> Any:
    """Make a batch, or a failure for its first bad item."""
    try:
        items = []
        for key in keys:
            _POSITION.pack_into(position, 0, key[-1] if isinstance(key, tuple) else key)
            items.append(dataset[key])
        return collate(items)
    except Exception as error:
        if not isinstance(error, TdpnError):
            error.add_note(f"In a loader worker:\n{traceback.format_exc()}")
        return _Failure(error)
    finally:
        _POSITION.pack_into(position, 0, _IDLE)


def _send(own: connection.Connection, answer: Any) -> None:
    try:
        transport.send(own, answer)
    except ConnectionError:
        raise
    except Exception as error:  # an error that cannot be pickled, for example
        text = f"a loader worker's answer cannot be sent ({type(error).__name__}: {error}): {answer!r:.2000}"
        transport.send(own, _Failure(RuntimeError(text)))


class _Pinning:
    """Copies batches to page-locked memory, in a thread if the batch is not needed at once."""

    def __init__(self) -> None:
        device = torch.cuda.current_device() if torch.cuda.is_available() else None
        self._thread = ThreadPoolExecutor(1, "tdpn-pin", _settle, (device,))

    def now(self, batch: Any) -> Any:
        return _pinned(batch)

    def begin(self, batch: Any) -> Future[Any]:
        return self._thread.submit(_pinned, batch)


def _settle(device: int | None) -> None:
    torch.set_num_threads(1)
    if device is not None:
        torch.cuda.set_device(device)  # a thread begins on GPU 0


def _pinned(value: Any) -> Any:
    """Return `value` with its tensors in page-locked memory; containers are unchanged."""
    if isinstance(value, Tensor):
        return value.pin_memory()
    if isinstance(value, dict):
        return {name: _pinned(inner) for name, inner in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_pinned, value))
    if isinstance(value, (list, tuple)):
        return type(value)(map(_pinned, value))
    return value
