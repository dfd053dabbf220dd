"""Classifiers: the head on the fused pyramid, and the auxiliary one on res4 for training."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from tdpn_core.model.layers import FRAME, ConvNorm, initialise


class Head(nn.Module):
    """Average over time and space, dropout, one linear classifier for each kind of label."""

    def __init__(self, channels: int, num_classes: Mapping[str, int], dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.ModuleDict({name: nn.Linear(channels, count) for name, count in num_classes.items()})
        initialise(self)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, C, T, H, W) to the logits (N, classes) of each head."""
        pooled = self.dropout(x.mean((2, 3, 4)))
        return {name: linear(pooled) for name, linear in self.linear.items()}


class AuxiliaryHead(nn.Module):
    """TPN's second classifier: a strided convolution on res4 and a `Head`."""

    def __init__(self, channels: int, hidden: int, num_classes: Mapping[str, int], dropout: float):
        super().__init__()
        self.reduce = ConvNorm(channels, hidden, FRAME, stride=2)
        self.head = Head(hidden, num_classes, dropout)
        initialise(self)

    def forward(self, level: Tensor) -> dict[str, Tensor]:
        """res4 (N, C, T, H, W) to the logits (N, classes) of each head."""
        logits: dict[str, Tensor] = self.head(self.reduce(level))
        return logits
