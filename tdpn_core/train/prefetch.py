"""Batches on their way to the device, each while the step before it is computed."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from tdpn_core.sampling.loader import Batch
from tdpn_core.train.loss import label_counts


def on_device(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """`batches` in their order, clips and labels on `device`; indices and visits stay on the CPU.

    From page-locked memory to a GPU the next batch travels while the one that is given out is computed with.
    """
    if device.type != "cuda":
        yield from batches
    else:
        yield from ahead(batches, SideStream(device))


def ahead(batches: Iterator[Batch], side: SideStream) -> Iterator[Batch]:
    """`batches`, of which `side` begins to copy the next before it hands one out."""
    coming = side.begin(first) if (first := next(batches, None)) is not None else None
    while coming is not None:
        copy = coming
        coming = side.begin(following) if (following := next(batches, None)) is not None else None
        yield side.end(copy)


class SideStream:
    """Copies to one GPU beside its computation. Written by CUDA's documentation, and not run on a GPU so far."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def begin(self, batch: Batch) -> tuple[Batch, torch.cuda.Event]:
        """Begin to copy `batch`, which is in page-locked memory; gives the copy, and what tells that it is there."""
        counts = label_counts(batch.labels)  # once they are on the device, to count them is to wait for it
        with torch.cuda.stream(self._stream):
            clips = batch.clips.to(self._device, non_blocking=True)
            labels = {head: values.to(self._device, non_blocking=True) for head, values in batch.labels.items()}
            copied = torch.cuda.Event()
            copied.record(self._stream)
        return batch._replace(clips=clips, labels=labels, counts=counts), copied

    def end(self, copy: tuple[Batch, torch.cuda.Event]) -> Batch:
        """Let the computation that follows wait for the copy on the device; the CPU does not wait."""
        batch, copied = copy
        computing = torch.cuda.current_stream(self._device)
        computing.wait_event(copied)
        for tensor in (batch.clips, *batch.labels.values()):
            tensor.record_stream(computing)  # else its memory could be given to the next copy while it is computed with
        return batch
