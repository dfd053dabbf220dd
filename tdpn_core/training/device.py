"""What training asks of a device: batches copied ahead, activations computed again, memory that runs out, compiling."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from tdpn_core.errors import DeviceError, TrainingError
from tdpn_core.sampling.loader import Batch
from tdpn_core.training.loss import label_counts


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


def recompute_activations(model: nn.Module) -> None:
    """Let the residual blocks and the neck's branches of `model` keep their inputs only.

    Gradients, dropout masks and the statistics of batch normalisation are bit for bit those of the plain network.
    """
    for segment in segments(model):
        segment.forward = partial(_recomputed, segment, segment.forward)


def segments(model: nn.Module) -> list[nn.Module]:
    """Each block of each residual stage, and of a pyramid each level's modulation and each flow's fusion."""
    found: list[nn.Module] = []
    for name, module in model.named_modules():
        if re.search(r"(^|\.)layer\d$", name) or re.search(r"(^|\.)pyramid\.(spatial|fusion)$", name):
            found.extend(child for child in module.children() if next(child.parameters(), None) is not None)
    return found


def _recomputed(segment: nn.Module, forward: Callable[..., Any], *inputs: Any) -> Any:
    if not (segment.training and torch.is_grad_enabled()):
        return forward(*inputs)
    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=partial(_contexts, segment))


def _contexts(segment: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _without_statistics(segment)


@contextmanager
def _without_statistics(segment: nn.Module) -> Iterator[None]:
    """Batch normalisation inside counts what it sees into copies of its statistics: it has seen it before."""
    norms = [module for module in segment.modules() if isinstance(module, _BatchNorm)]
    kept = [dict(norm.named_buffers(recurse=False)) for norm in norms]
    for norm, buffers in zip(norms, kept, strict=True):
        for name, value in buffers.items():
            setattr(norm, name, value.clone())
    try:
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            for name, value in buffers.items():
                setattr(norm, name, value)


def largest_that_fits(run: Callable[[int], None], size: int) -> int:
    """The first of size/2, size/4, ... clips for which `run` works; 0 if even one is too many, or too few."""
    while size := size // 2:
        if _fits(run, size):
            return size
    return 0


def out_of_memory(
    clips: tuple[int, ...], fitting: int, *, batch_size: int, accumulate: int, device: str
) -> TrainingError:
    """What to say of a part of a batch of the shape `clips` (N, C, T, H, W) of which `fitting` would have fitted.

    `batch_size` and `accumulate` are the run's.
    """
    count, shape = clips[0], "x".join(map(str, clips[1:]))
    what = f"{device} ran out of memory with {count} clips of {shape} at a time"
    if not fitting:
        hint = "no smaller number works: use --set train.checkpointing=true, fewer --frames, or a smaller --size"
        return TrainingError(what, hint=hint)
    parts = accumulate * -(-count // fitting)
    smaller = max(1, batch_size * fitting // count)
    hint = (
        f"{fitting} fit: --accumulate {parts} computes the same batch of {batch_size} in parts that fit, "
        f"--batch-size {smaller} trains with a smaller one; --set train.checkpointing=true saves memory, too"
    )
    return TrainingError(what, hint=hint)


def _fits(run: Callable[[int], None], size: int) -> bool:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    try:
        run(size)
    except torch.OutOfMemoryError:
        return False
    except ValueError as error:
        if not too_few(error):
            raise
        return False
    return True


def too_few(error: ValueError) -> bool:
    """Whether `error` is batch normalisation's over a single value, as one clip of a small network gives it."""
    return "more than 1 value per channel" in str(error)


def compiler_fault(error: RuntimeError) -> DeviceError | None:
    """What to tell of an error of `torch.compile`; None if it is none."""
    from torch._dynamo.exc import TorchDynamoException  # seconds, but where a network was compiled it is there

    if not isinstance(error, TorchDynamoException):
        return None
    first = next(line for line in str(error).splitlines() if line.strip())
    hint = "it needs a C++ compiler such as g++, and Triton on a GPU; --no-compile trains without it, resumed runs too"
    return DeviceError(f"the network cannot be compiled here ({first.strip()})", where="--compile", hint=hint)
