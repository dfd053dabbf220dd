"""Batches from a data set: an exact order, workers that cannot change it, errors that name the clip."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

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
"""Seconds without a batch after which the workers are given up."""


class Batch(NamedTuple):
    """Some items of a data set."""

    clips: Tensor
    """uint8: (N, 3, T * window, S, S) in training, (N, views, 3, T * window, S, S) in testing."""

    labels: dict[str, Tensor]
    """The class of each head, int64 (N,)."""

    indices: Tensor
    """Each clip's number in the source, int64 (N,)."""

    visits: Tensor
    """How often each clip was seen before, int64 (N,): the epoch, unless classes are balanced; 0 in testing."""

    counts: dict[str, int] | None = None
    """Clips with a label, by head, where they were counted before the labels went to a device; None: count them."""


class TrainingLoader:
    """The batches of any epoch, from any batch on. Workers live as long as the loader.

    `pin` puts batches into page-locked memory, for asynchronous copies to a GPU. `timeout` is in seconds.

    An epoch is a permutation of the clips that depends on (seed, epoch), cut into batches; where it is `balanced`, it
    is `BalancedOrder`'s by the labels of the first head. A last, shorter batch is
    dropped unless it is the only one: its gradient would weigh its clips more than others, and its statistics less.

    Of `world` processes that train together, the one of number `rank` takes every `world`-th clip of each batch from
    its own number on: all have equally many batches, and together those that one process would have had. Where a batch
    does not divide, their parts differ by one clip.

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
        """Batches of an epoch."""
        return len(self._order)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of `epoch` from number `start` on, the same ones whenever and with however many workers.

        Raises:
            ClipError: a clip cannot be decoded; or a worker died or hangs while at it.
            TdpnError: whatever else the source raised.
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
    """Every clip once, in order, the last batch shorter where that is so. Errors are those of `TrainingLoader`.

    Of `world` processes, the one of number `rank` takes every `world`-th clip from its own number on: nothing is
    repeated to fill up, so some have one clip less, or none.
    """
    assert 0 <= rank < world
    clips = list(range(rank, len(dataset), world))
    if not clips:
        return
    order = [clips[start : start + batch_size] for start in range(0, len(clips), batch_size)]
    ids = dataset.source.ids
    yield from WorkerLoader(dataset, ids, order, collate, workers=workers, pin=pin, timeout=timeout)


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
    """The keys (visit, clip) of each batch of the selected epoch, or of the `part` of it that is ours."""

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
    """Items joined to a batch."""
    clips, labels, numbers, visits = zip(*samples, strict=True)
    joined = {head: torch.tensor([item[head] for item in labels]) for head in labels[0]}
    return Batch(stack(clips), joined, torch.tensor(numbers), torch.tensor(visits))
