"""Batches from a data set: an exact order, workers that cannot change it, errors that name the clip."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from tdpn_core.errors import ClipError, TdpnError
from tdpn_core.randomness import derive
from tdpn_core.sampling.dataset import Sample, TestViews, TrainingClips
from tdpn_core.sampling.source import ClipSource

WORKER_TIMEOUT = 300.0
"""Seconds without a batch after which the workers are given up."""

Key = tuple[int, int] | int
"""How a data set is asked for an item."""


class Batch(NamedTuple):
    """Some items of a data set."""

    clips: Tensor
    """uint8: (N, 3, T * window, S, S) in training, (N, views, 3, T * window, S, S) in testing."""

    labels: dict[str, Tensor]
    """The class of each head, int64 (N,)."""

    indices: Tensor
    """Each clip's number in the source, int64 (N,)."""


class TrainingLoader:
    """The batches of any epoch, from any batch on. Workers live as long as the loader.

    `pin` puts batches into page-locked memory, for asynchronous copies to a GPU. `timeout` is in seconds.

    An epoch is a permutation of the clips that depends on (seed, epoch), cut into batches. A last, shorter batch is
    dropped unless it is the only one: its gradient would weigh its clips more than others, and its statistics less.
    """

    def __init__(
        self,
        dataset: TrainingClips,
        *,
        batch_size: int,
        seed: int,
        workers: int,
        pin: bool = False,
        timeout: float = WORKER_TIMEOUT,
    ) -> None:
        self._source = dataset.source
        self._order = _EpochOrder(len(dataset), batch_size, seed)
        self._loader = _loader(dataset, self._order, workers, pin, timeout)

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self._order)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of `epoch` from number `start` on, the same ones whenever and with however many workers.

        Raises:
            ClipError: a clip cannot be decoded; or the workers died or hang, and these are the clips of their batch.
            TdpnError: whatever else the source raised.
        """
        self._order.select(epoch, start)
        yield from _checked(self._loader, [[clip for _, clip in keys] for keys in self._order], self._source)


def view_batches(
    dataset: TestViews,
    *,
    workers: int,
    batch_size: int = 1,
    pin: bool = False,
    timeout: float = WORKER_TIMEOUT,
) -> Iterator[Batch]:
    """Every clip once, in order, the last batch shorter where that is so. Errors are those of `TrainingLoader`."""
    clips = list(range(len(dataset)))
    order = [clips[start : start + batch_size] for start in range(0, len(clips), batch_size)]
    yield from _checked(_loader(dataset, order, workers, pin, timeout), order, dataset.source)


def loader_workers(device_type: str) -> int:
    """A good number of worker processes for one training process on this machine.

    Training on a CPU computes on every core for seconds a batch, and decoding takes a few hundredths of that: one
    worker hides it, more would only interrupt the computation. A GPU leaves the cores free: all but the one that
    feeds it, 16 at most.
    """
    if device_type == "cpu":
        return 1
    return max(1, min(16, len(os.sched_getaffinity(0)) - 1))


class _EpochOrder(Sampler[list[tuple[int, int]]]):
    """The keys (epoch, clip) of each batch of the selected epoch."""

    def __init__(self, clips: int, batch_size: int, seed: int) -> None:
        self._clips = clips
        self._batch_size = min(batch_size, clips)
        self._seed = seed
        self._epoch = 0
        self._start = 0

    def select(self, epoch: int, start: int) -> None:
        self._epoch = epoch
        self._start = start

    def __len__(self) -> int:
        return self._clips // self._batch_size

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = derive(self._seed, self._epoch).permutation(self._clips).tolist()
        for batch in range(self._start, len(self)):
            chosen = order[batch * self._batch_size : (batch + 1) * self._batch_size]
            yield [(self._epoch, clip) for clip in chosen]


class _Reported(Dataset[Sample | TdpnError]):
    """A data set that hands errors over as items: raised in a worker they would lose their fields."""

    def __init__(self, dataset: Dataset[Sample]) -> None:
        self._dataset = dataset

    def __getitem__(self, key: Key) -> Sample | TdpnError:
        try:
            return self._dataset[key]
        except TdpnError as error:
            return error


def _collate(samples: Sequence[Sample | TdpnError]) -> Batch | TdpnError:
    for sample in samples:
        if isinstance(sample, TdpnError):
            return sample
    clips, labels, numbers = zip(*samples, strict=True)
    # default_collate stacks straight into shared memory in a worker
    return Batch(default_collate(clips), default_collate(labels), torch.tensor(numbers))


def _loader(dataset: TrainingClips | TestViews, order: Any, workers: int, pin: bool, timeout: float) -> DataLoader[Any]:
    return DataLoader(
        _Reported(dataset),
        batch_sampler=order,
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=pin,
        persistent_workers=workers > 0,
        timeout=timeout if workers else 0,
        generator=torch.Generator(),  # else every epoch would draw from the global one
    )


def _checked(loader: DataLoader[Any], order: Sequence[list[int]], source: ClipSource) -> Iterator[Batch]:
    """The loader's batches; `order` holds the clips of each."""
    batches = iter(loader)
    for clips in order:
        try:
            batch = next(batches)
        except (RuntimeError, ConnectionError) as error:
            if not (isinstance(error, ConnectionError) or str(error).startswith("DataLoader")):
                raise  # a worker's own error, with its traceback
            names = ", ".join(source.ids[clip] for clip in clips[:3]) + (", ..." if len(clips) > 3 else "")
            hint = "use --workers 0 to see the cause, fewer --workers or more shared memory if memory ran out"
            raise ClipError(f"a loader worker died or hangs ({error})", where=names, hint=hint) from error
        if isinstance(batch, TdpnError):
            raise batch
        yield batch
