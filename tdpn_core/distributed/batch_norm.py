"""Batch statistics over all processes: PyTorch's `SyncBatchNorm`, and its formula where it does not run, on a CPU."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm


class SyncBatchNorm(nn.SyncBatchNorm):
    """Normalises (N, C, ...) by the mean and variance over the clips of all processes."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, ...) to the same shape."""
        if not self.training or input.device.type != "cpu":
            return super().forward(input)
        dims = [0, *range(2, input.ndim)]
        count = torch.tensor(float(input.numel() // input.shape[1]))
        dist.all_reduce(count)
        mean = all_reduce(input.sum(dims)) / count
        centred = input - mean.reshape(-1, *[1] * (input.ndim - 2))
        variance = all_reduce(centred.square().sum(dims)) / count
        self._keep(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
        return F.batch_norm(input, mean, variance, self.weight, self.bias, training=False, eps=self.eps)

    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def synchronise(model: nn.Module) -> None:
    """Exchange every batch normalisation within `model`, in place; parameters, buffers and their names stay."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm) and not isinstance(child, nn.SyncBatchNorm):
                setattr(module, name, _synchronised(child))


def _synchronised(norm: _BatchNorm) -> SyncBatchNorm:
    other = SyncBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    other._parameters, other._buffers = norm._parameters, norm._buffers
    return other.train(norm.training)
