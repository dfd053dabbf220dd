"""Classifiers: the main head, and the auxiliary head on res4 for training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdpn_core.model.layers import FRAME, ConvNorm, initialise

Pooling = Literal["mean", "change", "attentive"]

ATTENTION_HEADS = 4
ATTENTION_WIDTH = 128
"""Heads and channels, over all heads, of `AttentivePooling`."""


def pool(steps: Tensor, pooling: Literal["mean", "change"]) -> Tensor:
    """What is classified of (N, C, T), the average over space of each time step: (N, C), of `change` (N, 2 C)."""
    mean = steps.mean(2)
    if pooling == "mean":
        return mean
    change = (steps[:, :, 1:] - steps[:, :, :-1]).abs().sum(2) / max(1, steps.shape[2] - 1)
    return torch.cat([mean, change], 1)


def with_changes(steps: Tensor) -> Tensor:
    """Map (N, C, T), the average over space of each time step, to tokens (N, T, 2 C) for `AttentivePooling`.

    A token is a step and its mean absolute difference from its neighbours, since the order of tokens has no effect.
    """
    change = (steps[:, :, 1:] - steps[:, :, :-1]).abs()
    sums = F.pad(change, (1, 0)) + F.pad(change, (0, 1))
    neighbours = torch.full((steps.shape[2],), 2.0, dtype=steps.dtype, device=steps.device)
    neighbours[0] = neighbours[-1] = 1.0
    return torch.cat([steps, sums / neighbours], 1).transpose(1, 2)


class AttentivePooling(nn.Module):
    """Multi-head cross-attention of one learned query over a set of tokens, whose order has no effect.

    V-JEPA's attentive probe (Bardes et al., 2024) without its MLP. The query is the same for all clips, so that query
    and key projection are one vector for each head, and values are projected after they are averaged.
    """

    def __init__(self, channels: int, width: int = ATTENTION_WIDTH, heads: int = ATTENTION_HEADS):
        super().__init__()
        self.heads = heads
        self.score = nn.Linear(channels, heads)
        self.value = nn.Linear(channels, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (N, T, C) to (N, width)."""
        averages = self.weights(tokens) @ tokens
        projections = self.value.weight.unflatten(0, (self.heads, -1))  # (heads, width / heads, C)
        values = averages.transpose(0, 1) @ projections.transpose(1, 2)
        attended: Tensor = values.transpose(0, 1).flatten(1) + self.value.bias
        return attended

    def weights(self, tokens: Tensor) -> Tensor:
        """Return the attention of each head over tokens (N, T, C): (N, heads, T), which sums to 1 over the tokens."""
        shares: Tensor = (self.score(tokens) * tokens.shape[2] ** -0.5).softmax(1).transpose(1, 2)
        return shares


class Head(nn.Module):
    """Pooling over time and space, dropout, one linear classifier for each kind of label.

    `mean` and `change` see `pool`, `attentive` attends over `with_changes`.
    """

    def __init__(self, channels: int, num_classes: Mapping[str, int], dropout: float, pooling: Pooling = "mean"):
        super().__init__()
        self.pooling = pooling
        self.attention = AttentivePooling(2 * channels) if pooling == "attentive" else None
        channels = {"mean": channels, "change": 2 * channels, "attentive": ATTENTION_WIDTH}[pooling]
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.ModuleDict({name: nn.Linear(channels, count) for name, count in num_classes.items()})
        initialise(self)
        if self.attention is not None:
            nn.init.zeros_(self.attention.score.weight)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Map (N, C, T, H, W) to the logits (N, classes) of each head."""
        if self.attention is not None:
            return self.classify_tokens(with_changes(x.mean((3, 4))))
        return self._classify(pool(x.mean((3, 4)), "change") if self.pooling == "change" else x.mean((2, 3, 4)))

    def classify_tokens(self, tokens: Tensor) -> dict[str, Tensor]:
        """Map the tokens of `with_changes` to the logits of each head, if the head is attentive.

        Raises:
            TypeError: it is not.
        """
        if self.attention is None:
            raise TypeError("the head has no attention")
        return self._classify(self.attention(tokens))

    def _classify(self, pooled: Tensor) -> dict[str, Tensor]:
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
