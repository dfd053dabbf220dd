"""How many clips a device can compute at a time: when its memory runs out, and when one is too few."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tdpn_core.errors import TrainingError


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
