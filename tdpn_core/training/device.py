"""Device handling in training: prefetching batches, activation checkpointing, out-of-memory errors, compilation."""

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
    """Yield `batches` in order with clips and labels on `device`; indices and visits stay on the CPU.

    From page-locked memory to a GPU, the next batch is copied during the computation with the current one.
    """
    if device.type != "cuda":
        yield from batches
    else:
        yield from ahead(batches, SideStream(device))


def ahead(batches: Iterator[Batch], side: SideStream) -> Iterator[Batch]:
    """Yield `batches`; `side` starts copying the next one before the current one is yielded."""
    coming = side.begin(first) if (first := next(batches, None)) is not None else None
    while coming is not None:
        copy = coming
        coming = side.begin(following) if (following := next(batches, None)) is not None else None
        yield side.end(copy)


class SideStream:
    """Copies to a GPU in parallel with its computation. Follows CUDA's documentation; not tested on a GPU yet."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def begin(self, batch: Batch) -> tuple[Batch, torch.cuda.Event]:
        """Start to copy `batch` from page-locked memory; returns the copy, and an event that signals its completion."""
        counts = label_counts(batch.labels)  # counted here, since counting on the device would wait for it
        with torch.cuda.stream(self._stream):
            clips = batch.clips.to(self._device, non_blocking=True)
            labels = {head: values.to(self._device, non_blocking=True) for head, values in batch.labels.items()}
            copied = torch.cuda.Event()
            copied.record(self._stream)
        return batch._replace(clips=clips, labels=labels, counts=counts), copied

    def end(self, copy: tuple[Batch, torch.cuda.Event]) -> Batch:
        """Make later computation on the device wait for the copy, without blocking the CPU."""
        batch, copied = copy
        computing = torch.cuda.current_stream(self._device)
        computing.wait_event(copied)
        for tensor in (batch.clips, *batch.labels.values()):
            tensor.record_stream(computing)  # otherwise its memory could be reused by the next copy while in use
        return batch


def recompute_activations(model: nn.Module) -> None:
    """Enable activation checkpointing for the residual blocks and the neck's branches of `model`.

    Gradients, dropout masks and batch normalisation statistics are bit-identical to those of the plain network.
    """
    for segment in segments(model):
        segment.forward = partial(_recomputed, segment, segment.forward)


def segments(model: nn.Module) -> list[nn.Module]:
    """Return each block of each residual stage, and each level's modulation and each flow's fusion of a pyramid."""
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
    """Redirect batch normalisation statistics to copies during recomputation, since they were updated before."""
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
    """Return the first of size/2, size/4, ... clips for which `run` fits in memory; 0 if there is none."""
    while size := size // 2:
        if _fits(run, size):
            return size
    return 0


def out_of_memory(
    clips: tuple[int, ...], fitting: int, *, batch_size: int, accumulate: int, device: str
) -> TrainingError:
    """Return the out-of-memory error for part of a batch of shape `clips` (N, C, T, H, W); `fitting` clips would fit.

    `batch_size` and `accumulate` are the run's settings.
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
        f"--batch-size {smaller} trains with a smaller one; --set train.checkpointing=true also saves memory"
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
    """Return whether `error` is batch normalisation's error about a single value per channel."""
    return "more than 1 value per channel" in str(error)


def compiler_fault(error: RuntimeError) -> DeviceError | None:
    """Return the error to report for a failure of `torch.compile`; None for other errors."""
    from torch._dynamo.exc import TorchDynamoException  # slow import, but already loaded if a network was compiled

    if not isinstance(error, TorchDynamoException):
        return None
    first = next(line for line in str(error).splitlines() if line.strip())
    hint = "it needs a C++ compiler such as g++, and Triton on a GPU; --no-compile trains without it, also on --resume"
    return DeviceError(f"the network cannot be compiled here ({first.strip()})", where="--compile", hint=hint)
