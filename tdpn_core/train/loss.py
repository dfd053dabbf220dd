"""The objective: cross entropy, averaged over the heads, plus the auxiliary head's share."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from tdpn_core.sampling.mixing import Mix


def mean_cross_entropy(logits: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> Tensor:
    """Mean over heads of the cross entropy of (N, classes) logits against (N,) labels.

    Label -1 is left out; a head without any other adds 0.
    """
    losses = []
    for head, values in logits.items():
        total = F.cross_entropy(values, labels[head], ignore_index=-1, reduction="sum")
        losses.append(total / (labels[head] >= 0).sum().clamp(min=1))
    return torch.stack(losses).mean()


def objective(
    logits: Mapping[str, Tensor],
    auxiliary: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    *,
    weight: float,
    mix: Mix | None = None,
) -> Tensor:
    """Cross entropy + `weight` x auxiliary cross entropy (TPN's loss), a scalar.

    Of clips joined by `mix` it is the loss against their own labels and that against their partners', weighted by
    their shares.
    """
    loss = mean_cross_entropy(logits, labels)
    loss = loss + weight * mean_cross_entropy(auxiliary, labels) if auxiliary else loss
    if mix is None:
        return loss
    others = objective(logits, auxiliary, mix.partners_labels(labels), weight=weight)
    return mix.share * loss + (1 - mix.share) * others
