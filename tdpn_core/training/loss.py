"""Training objective: cross entropy averaged over the heads, plus the weighted auxiliary loss."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from tdpn_core.sampling.mixup import Mix


def label_counts(labels: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the number of labelled clips by head, over which the mean loss of a batch is taken."""
    return {head: int((values >= 0).sum()) for head, values in labels.items()}


def mean_cross_entropy(
    logits: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    *,
    counts: Mapping[str, float] | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Return the mean over heads of the cross entropy of (N, classes) logits and (N,) labels.

    Label -1 is ignored; a head without labels contributes 0. For part of a batch, the sum over its clips is divided by
    `counts` of the complete batch, so that the parts add up to the batch's mean.
    """
    losses = []
    for head, values in logits.items():
        total = F.cross_entropy(values, labels[head], ignore_index=-1, reduction="sum", label_smoothing=smoothing)
        losses.append(total / max(1, (counts or label_counts(labels))[head]))
    return torch.stack(losses).mean()


def plain_loss(
    logits: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    *,
    mix: Mix | None = None,
    counts: Mapping[str, float] | None = None,
) -> Tensor:
    """Return the cross entropy without label smoothing and auxiliary loss, as measured in validation; a scalar.

    For clips mixed by `mix`, it is computed with both labels, weighted by their shares.
    """
    loss = mean_cross_entropy(logits, labels, counts=counts)
    if mix is None:
        return loss
    others = mean_cross_entropy(logits, mix.partners_labels(labels), counts=counts)
    return mix.share * loss + (1 - mix.share) * others


def objective(
    logits: Mapping[str, Tensor],
    auxiliary: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    *,
    weight: float,
    mix: Mix | None = None,
    counts: Mapping[str, float] | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Return cross entropy + `weight` x auxiliary cross entropy (TPN's loss), a scalar.

    For clips mixed by `mix`, it is the loss with their own labels and that with their partners', weighted by their
    shares. `counts` and `smoothing` are those of `mean_cross_entropy`.
    """
    loss = mean_cross_entropy(logits, labels, counts=counts, smoothing=smoothing)
    if auxiliary:
        loss = loss + weight * mean_cross_entropy(auxiliary, labels, counts=counts, smoothing=smoothing)
    if mix is None:
        return loss
    theirs = mix.partners_labels(labels)
    others = objective(logits, auxiliary, theirs, weight=weight, counts=counts, smoothing=smoothing)
    return mix.share * loss + (1 - mix.share) * others


def guessing_loss(classes: Mapping[str, int], *, weight: float, auxiliary: bool) -> float:
    """Return the objective of a uniform prediction over the classes, the natural scale of the loss."""
    entropy = sum(math.log(max(2, count)) for count in classes.values()) / len(classes)
    return entropy * (1 + weight) if auxiliary else entropy
