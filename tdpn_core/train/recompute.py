"""Activation checkpointing: what a block computed inside is forgotten, and computed again in the backward pass."""

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
