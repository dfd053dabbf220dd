"""Batch statistics over all processes: PyTorch's `SyncBatchNorm`, and an equivalent for the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _Sum(torch.autograd.Function):
    """Sum over all processes. Each process's loss depends on all terms, so gradients are summed as well."""

    @staticmethod
    def forward(ctx: Any, term: Tensor) -> Tensor:
        total = term.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class SharedBatchNorm(_BatchNorm):
    """Normalises (N, C, ...) by mean and variance over the clips of all processes, on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C, ...) to the same shape."""
        if not self.training:
            return super().forward(input)
        dims = [0, *range(2, input.ndim)]
        count = torch.tensor(float(input.numel() // input.shape[1]))
        dist.all_reduce(count)
        mean = _sum(input.sum(dims)) / count
        centred = input - mean.reshape(-1, *[1] * (input.ndim - 2))
        variance = _sum(centred.square().sum(dims)) / count
        self._keep(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
        normal = centred * (variance + self.eps).rsqrt().reshape(-1, *[1] * (input.ndim - 2))
        if not self.affine:
            return normal
        scale, shift = (value.reshape(-1, *[1] * (input.ndim - 2)) for value in (self.weight, self.bias))
        return normal * scale + shift

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any number of dimensions."""

    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


_sum: Callable[[Tensor], Tensor] = _Sum.apply


def synchronise(model: nn.Module) -> None:
    """Replace every batch normalisation in `model` in place; parameters, buffers and their names are unchanged."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm):
                setattr(module, name, _synchronised(child))


def _synchronised(norm: _BatchNorm) -> _BatchNorm:
    on_cpu = norm.weight is None or norm.weight.device.type == "cpu"
    kind = SharedBatchNorm if on_cpu else nn.SyncBatchNorm
    other = kind(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    other._parameters, other._buffers = norm._parameters, norm._buffers
    return other.train(norm.training)
