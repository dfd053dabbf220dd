"""The objective: cross entropy, averaged over the heads, plus the auxiliary head's share."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from tdpn_core.sampling.mixup import Mix


def label_counts(labels: Mapping[str, Tensor]) -> dict[str, int]:
    """The clips with a label, by head: what the mean loss of a batch is a mean over."""
    return {head: int((values >= 0).sum()) for head, values in labels.items()}


def mean_cross_entropy(
    logits: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    *,
    counts: Mapping[str, float] | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Mean over heads of the cross entropy of (N, classes) logits against (N,) labels.

    Label -1 is left out; a head without any other adds 0. Of a part of a batch, the sum over its clips is divided by
    the `counts` of the whole batch, so that the parts add up to the batch's mean.
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
    """What validation measures too: the cross entropy alone, without label smoothing and auxiliary head, a scalar.

    Of clips joined by `mix` it is against both labels, weighted by their shares.
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
    """Cross entropy + `weight` x auxiliary cross entropy (TPN's loss), a scalar.

    Of clips joined by `mix` it is the loss against their own labels and that against their partners', weighted by
    their shares. `counts` and `smoothing` are those of `mean_cross_entropy`.
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
    """The objective of a network that finds all classes equally likely: the natural scale of a loss."""
    entropy = sum(math.log(max(2, count)) for count in classes.values()) / len(classes)
    return entropy * (1 + weight) if auxiliary else entropy
