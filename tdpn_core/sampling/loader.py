"""Batches from a data set, in an exact order for any number of workers, with errors that name the clip."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from tdpn_core.errors import DatasetError
from tdpn_core.rng import derive
from tdpn_core.sampling.balanced_order import BalancedOrder
from tdpn_core.sampling.dataset import Sample, TrainingClips, ViewClips
from tdpn_core.sampling.transport import stack
from tdpn_core.sampling.worker_loader import WorkerLoader

WORKER_TIMEOUT = 300.0
"""Seconds without a batch after which the workers are considered dead."""


class Batch(NamedTuple):
    """Items of a data set, collated."""

    clips: Tensor
    """uint8: (N, 3, T * window, S, S) in training, (N, views, 3, T * window, S, S) in testing."""

    labels: dict[str, Tensor]
    """Class indices of each head, int64 (N,); for multi-label data int64 (N, C), as in `tdpn_core.labels`."""

    indices: Tensor
    """Number of each clip in the source, int64 (N,)."""

    visits: Tensor
    """How often each clip was seen before, int64 (N,): the epoch, unless classes are balanced; 0 in testing."""

    counts: dict[str, int] | None = None
    """Number of labelled clips by head, if counted before the labels moved to a device; None if not counted."""


class TrainingLoader:
    """Batches of any epoch, starting at any batch. Workers live as long as the loader.

    `pin` allocates batches in page-locked memory, for asynchronous copies to a GPU. `timeout` is in seconds.

    An epoch is a permutation of the clips that depends on (seed, epoch), cut into batches; if `balanced`, it follows
    `BalancedOrder` with the labels of the first head. A last, shorter batch is dropped unless it is the only one: its
    gradient would weight its clips more than others.

    With `world` processes, process `rank` takes every `world`-th clip of each batch, starting at clip `rank`: all
    processes have the same number of batches, and together they see the batches of a single process. If the batch size
    is not divisible, the parts differ by one clip.

    Raises:
        DatasetError: a batch has fewer clips than there are processes.
    """

    def __init__(
        self,
        dataset: TrainingClips,
        *,
        batch_size: int,
        seed: int,
        workers: int,
        rank: int = 0,
        world: int = 1,
        balanced: bool = False,
        pin: bool = False,
        timeout: float = WORKER_TIMEOUT,
    ) -> None:
        assert 0 <= rank < world
        if min(len(dataset), batch_size) < world:
            what = f"a batch of {min(len(dataset), batch_size)} clips cannot be shared among {world} processes"
            hint = "use fewer processes" if len(dataset) < world else "use a larger --batch-size or fewer processes"
            raise DatasetError(what, hint=hint)
        self._order = _EpochOrder(
            len(dataset),
            batch_size,
            seed,
            slice(rank, None, world),
            BalancedOrder(next(iter(dataset.source.labels.values())), seed) if balanced else None,
        )
        self._loader = WorkerLoader(
            dataset, dataset.source.ids, self._order, collate, workers=workers, pin=pin, timeout=timeout
        )

    def __len__(self) -> int:
        """Number of batches per epoch."""
        return len(self._order)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of `epoch` from number `start` on, identical for any number of workers.

        Raises:
            ClipError: a clip cannot be decoded, or a worker died or hung while decoding it.
            TdpnError: any other error of the source.
        """
        self._order.select(epoch, start)
        yield from self._loader


def view_batches(
    dataset: ViewClips,
    *,
    workers: int,
    batch_size: int = 1,
    rank: int = 0,
    world: int = 1,
    pin: bool = False,
    timeout: float = WORKER_TIMEOUT,
) -> Iterator[Batch]:
    """Yield every clip once, in order; the last batch can be shorter. Errors are those of `TrainingLoader`.

    With `world` processes, process `rank` takes every `world`-th clip, starting at clip `rank`. Nothing is repeated for
    padding, so some processes have one clip less, or none.
    """
    assert 0 <= rank < world
    clips = list(range(rank, len(dataset), world))
    if not clips:
        return
    order = [clips[start : start + batch_size] for start in range(0, len(clips), batch_size)]
    ids = dataset.source.ids
    yield from WorkerLoader(dataset, ids, order, collate, workers=workers, pin=pin, timeout=timeout)


def loader_workers(device_type: str) -> int:
    """Return a suitable number of worker processes for one training process on this machine.

    Training on a CPU uses every core for seconds per batch, and decoding takes a few hundredths of that: one worker is
    enough, and more would only interrupt the computation. With a GPU the cores are idle: use all but the one that feeds
    the GPU, 16 at most.
    """
    if device_type == "cpu":
        return 1
    return max(1, min(16, len(os.sched_getaffinity(0)) - 1))


class _EpochOrder(Sampler[list[tuple[int, int]]]):
    """The keys (visit, clip) of each batch of the selected epoch, or of this process's `part` of it."""

    def __init__(self, clips: int, batch_size: int, seed: int, part: slice, balanced: BalancedOrder | None) -> None:
        self._clips = clips
        self._balanced = balanced
        self._batch_size = min(batch_size, clips)
        self._seed = seed
        self._part = part
        self._epoch = 0
        self._start = 0

    def select(self, epoch: int, start: int) -> None:
        self._epoch = epoch
        self._start = start

    def __len__(self) -> int:
        return (self._clips if self._balanced is None else len(self._balanced)) // self._batch_size

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        keys = self._keys()
        for batch in range(self._start, len(self)):
            chosen = keys[batch * self._batch_size : (batch + 1) * self._batch_size]
            yield chosen[self._part]

    def _keys(self) -> list[tuple[int, int]]:
        if self._balanced is not None:
            return self._balanced.epoch(self._epoch)
        return [(self._epoch, clip) for clip in derive(self._seed, self._epoch).permutation(self._clips).tolist()]


def collate(samples: Sequence[Sample]) -> Batch:
    """Collate items into a batch."""
    clips, labels, numbers, visits = zip(*samples, strict=True)
    joined = {head: torch.from_numpy(np.array([item[head] for item in labels], np.int64)) for head in labels[0]}
    return Batch(stack(clips), joined, torch.tensor(numbers), torch.tensor(visits))
