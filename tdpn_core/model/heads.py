"""Classifiers: the main head, and the auxiliary head on res4 for training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from tdpn_core.model.layers import FRAME, ConvNorm, initialise

Pooling = Literal["mean", "change"]


def pool(steps: Tensor, pooling: Pooling) -> Tensor:
    """What is classified of (N, C, T), the average over space of each time step: (N, C), of `change` (N, 2 C)."""
    mean = steps.mean(2)
    if pooling == "mean":
        return mean
    change = (steps[:, :, 1:] - steps[:, :, :-1]).abs().sum(2) / max(1, steps.shape[2] - 1)
    return torch.cat([mean, change], 1)


class Head(nn.Module):
    """Average over time and space (see `pool`), dropout, one linear classifier for each kind of label."""

    def __init__(self, channels: int, num_classes: Mapping[str, int], dropout: float, pooling: Pooling = "mean"):
        super().__init__()
        self.pooling = pooling
        channels *= 1 if pooling == "mean" else 2
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.ModuleDict({name: nn.Linear(channels, count) for name, count in num_classes.items()})
        initialise(self)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Map (N, C, T, H, W) to the logits (N, classes) of each head."""
        pooled = x.mean((2, 3, 4)) if self.pooling == "mean" else pool(x.mean((3, 4)), self.pooling)
        pooled = self.dropout(pooled)
        return {name: linear(pooled) for name, linear in self.linear.items()}


class AuxiliaryHead(nn.Module):
    """TPN's second classifier: a strided convolution on res4 and a `Head`."""

    def __init__(self, channels: int, hidden: int, num_classes: Mapping[str, int], dropout: float):
        super().__init__()
        self.reduce = ConvNorm(channels, hidden, FRAME, stride=2)
        self.head = Head(hidden, num_classes, dropout)
        initialise(self)

    def forward(self, level: Tensor) -> dict[str, Tensor]:
        """Map res4 (N, C, T, H, W) to the logits (N, classes) of each head."""
        logits: dict[str, Tensor] = self.head(self.reduce(level))
        return logits
