"""The objective: cross entropy, averaged over the heads, plus the auxiliary head's share."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F


def mean_cross_entropy(logits: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> Tensor:
    """Mean over heads of the cross entropy of (N, classes) logits against (N,) labels; label -1 is left out."""
    return torch.stack([F.cross_entropy(logits[head], labels[head], ignore_index=-1) for head in logits]).mean()


def objective(
    logits: Mapping[str, Tensor], auxiliary: Mapping[str, Tensor], labels: Mapping[str, Tensor], *, weight: float
) -> Tensor:
    """Cross entropy + `weight` x auxiliary cross entropy (TPN's loss), a scalar."""
    loss = mean_cross_entropy(logits, labels)
    return loss + weight * mean_cross_entropy(auxiliary, labels) if auxiliary else loss
