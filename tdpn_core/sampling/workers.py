"""PyTorch's `DataLoader`, with errors that are ours, name the clip and come where a batch is asked for."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from tdpn_core.errors import ClipError, TdpnError

POLL_SECONDS = 5.0
"""How often a wait for a batch looks whether the workers are alive."""

IDLE = -1

_SHARED = "/dev/shm"  # noqa: S108 - where workers leave their batches

Item = TypeVar("Item")
Collated = TypeVar("Collated")


class WorkerLoader(Generic[Item, Collated]):
    """Batches of `dataset` in the order of `batches`, lists of keys: clip numbers or (epoch, clip).

    `ids` are the clips' names. It can be iterated again, by the same workers; after an error it is used up.
    """

    def __init__(
        self,
        dataset: Dataset[Item],
        ids: Sequence[str],
        batches: Iterable[list[Any]],
        collate: Callable[[Sequence[Item]], Collated],
        *,
        workers: int,
        pin: bool,
        timeout: float,
    ) -> None:
        self._ids = ids
        self._timeout = timeout
        self._poll = min(POLL_SECONDS, timeout) if workers else 0
        self._watched = _Watched(dataset, workers)
        self._loader: DataLoader[Any] | None = DataLoader(
            self._watched,
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=_ErrorOr(collate),
            pin_memory=pin,
            persistent_workers=workers > 0,
            timeout=self._poll,
            worker_init_fn=_own_signals,
            generator=torch.Generator(),  # else every epoch would draw from the global one
        )

    def __iter__(self) -> Iterator[Collated]:
        assert self._loader is not None
        batches: Iterator[Any] | None = None
        waited = 0.0
        while True:
            fault: TdpnError | None = None
            try:
                batches = batches or self._started(self._loader)
                batch = next(batches)
            except StopIteration:
                return
            except (RuntimeError, OSError, EOFError) as error:
                if not self._from_a_worker(error):
                    raise
                waited += self._poll
                if "timed out" in str(error) and waited < self._timeout:
                    continue
                fault = self._lost(error)
            else:
                fault = batch if isinstance(batch, TdpnError) else None
            if fault is not None:
                # the workers end with the last reference to them: none may hang on the exception's frames
                self._loader = None
                del batches
                raise fault
            waited = 0.0
            yield batch

    @staticmethod
    def _started(loader: DataLoader[Any]) -> Iterator[Any]:
        """The loader's iterator; one that lives on waits here until its workers have heard of the new epoch."""
        with _no_error_out_of_the_blue():
            return iter(loader)

    def _from_a_worker(self, error: Exception) -> bool:
        """Whether a worker's end or silence made the error; one raised in a worker says so in its own words."""
        lost_connection = isinstance(error, (OSError, EOFError)) and not str(error).startswith("Caught")
        return self._poll > 0 and (lost_connection or str(error).startswith("DataLoader"))

    def _lost(self, error: Exception) -> TdpnError:
        clips = ", ".join(self._ids[clip] for clip in self._watched.unfinished())
        room = shutil.disk_usage(_SHARED).total / 2**20
        hint = (
            "--workers 0 shows the cause; if memory ran out, use fewer --workers or a smaller --batch-size "
            f"({_SHARED} has {room:.0f} MiB; docker --shm-size gives more)"
        )
        return ClipError(
            f"a loader worker died or hangs ({str(error).strip() or type(error).__name__})",
            where=clips or None,
            hint=hint,
        )


def _own_signals(worker: int) -> None:
    """A worker inherits the handlers of its parent. Ctrl-C is the parent's affair; SIGTERM ends even a hung worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _Watched(Dataset[Item | TdpnError]):
    """A data set in worker processes: it hands errors over, and tells which clip each worker is at.

    An error is returned as an item, since raised in a worker it would lose its fields.
    """

    def __init__(self, dataset: Dataset[Item], workers: int) -> None:
        self._dataset = dataset
        self._at: Tensor = torch.full((max(workers, 1),), IDLE).share_memory_()

    def __getitem__(self, key: Any) -> Item | TdpnError:
        info = get_worker_info()
        worker = info.id if info else 0
        self._at[worker] = key[-1] if isinstance(key, tuple) else key
        try:
            return self._dataset[key]
        except TdpnError as error:
            return error
        finally:
            self._at[worker] = IDLE

    def unfinished(self) -> list[int]:
        """The clips that workers have begun and not ended."""
        return [clip for clip in self._at.tolist() if clip != IDLE]


class _ErrorOr(Generic[Item, Collated]):
    """Collates a batch, or passes on its first error. A class, so that it can be sent to a spawned worker."""

    def __init__(self, collate: Callable[[Sequence[Item]], Collated]) -> None:
        self._collate = collate

    def __call__(self, items: Sequence[Item | TdpnError]) -> Collated | TdpnError:
        good: list[Item] = []
        for item in items:
            if isinstance(item, TdpnError):
                return item
            good.append(item)
        return self._collate(good)


@contextmanager
def _no_error_out_of_the_blue() -> Iterator[None]:
    """Take back the SIGCHLD handler that PyTorch installs as workers start.

    It raises in the main thread wherever that is when a worker dies: within a step, or while a checkpoint is saved.
    The death is noticed anyway, at the next batch.
    """
    before = signal.getsignal(signal.SIGCHLD)
    yield
    if before is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, before)
