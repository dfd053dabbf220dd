"""Training objective: the loss averaged over the heads, plus the weighted auxiliary loss.

With one class per clip the loss is the cross entropy of the softmax. In multi-label data it is the sum over the classes
of binary cross entropies of sigmoids, one for each class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tdpn_core.labels import Labels, clips_per_class, known
from tdpn_core.sampling.mixup import Mix

MultilabelKind = Literal["binary", "asymmetric"]

_NEGATIVE_FOCUS = 4.0
"""Exponent of the asymmetric loss for classes that a clip lacks; 0 for those that it has."""

_MARGIN = 0.05
"""Probability below which a class that a clip lacks has no asymmetric loss."""


class MultilabelLoss(NamedTuple):
    """The loss of multi-label data."""

    kind: MultilabelKind = "binary"
    positive_weights: Mapping[str, Tensor] = {}
    """(C,) by head: factor of the loss of a class for the clips that have it; 1 for heads without an entry."""


USUAL_LOSS = MultilabelLoss()
"""Binary cross entropy without weights."""


def positive_weights(labels: Mapping[str, Labels], exponent: float) -> dict[str, Tensor]:
    """Return `MultilabelLoss.positive_weights` for training clips: (clips without / clips with the class) ** exponent.

    A class that no clip has, or all have, has the weight 1. Empty if the exponent is 0.
    """
    weights = {}
    for head, values in labels.items() if exponent else ():
        rows = values[known(values)]
        have = torch.from_numpy(clips_per_class(rows, values.shape[1])).double()
        lack = len(rows) - have
        ratio = torch.where((have > 0) & (lack > 0), lack / have.clamp(min=1), 1.0)
        weights[head] = (ratio**exponent).float()
    return weights


def label_counts(labels: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the number of labelled clips by head, over which the mean loss of a batch is taken."""
    return {head: int(_known(values).sum()) for head, values in labels.items()}


def mean_loss(
    logits: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    *,
    counts: Mapping[str, float] | None = None,
    smoothing: float = 0.0,
    multilabel: MultilabelLoss = USUAL_LOSS,
) -> Tensor:
    """Return the mean over heads of the loss of (N, classes) logits, a scalar.

    Labels are (N,) classes, or (N, classes) in multi-label data, whose loss `multilabel` determines; see
    `tdpn_core.labels`. Unlabelled clips are ignored; a head without labels contributes 0. For part of a batch, the sum
    over its clips is divided by `counts` of the complete batch, so that the parts add up to the batch's mean.
    """
    losses = []
    for head, values in logits.items():
        own = labels[head]
        if own.ndim == 1:
            total = F.cross_entropy(values, own, ignore_index=-1, reduction="sum", label_smoothing=smoothing)
        else:
            total = _multilabel(values.float(), own, smoothing, multilabel, multilabel.positive_weights.get(head))
        losses.append(total / max(1, (counts or label_counts(labels))[head]))
    return torch.stack(losses).mean()


def _multilabel(
    logits: Tensor, labels: Tensor, smoothing: float, loss: MultilabelLoss, weights: Tensor | None
) -> Tensor:
    """Return the sum over labelled clips and classes."""
    targets = labels.clamp(min=0).to(logits.dtype)
    targets = targets * (1 - smoothing) + smoothing / 2
    if loss.kind == "asymmetric":
        losses = asymmetric_loss(logits, targets, weights)
    else:
        weights = None if weights is None else weights.to(logits.device)
        losses = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights, reduction="none")
    return (losses * _known(labels)[:, None]).sum()


def asymmetric_loss(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the asymmetric loss (Ridnik et al. 2021) of each class, (N, C), with their settings for MS-COCO.

    Classes that a clip lacks count less the lower their probability p: -q^4 log(1 - q) with q = max(p - 0.05, 0).

    Args:
        logits: (N, C).
        targets: (N, C), 1 for the classes of a clip and 0 for the others.
        weights: (C,) factors for the classes of a clip.
    """
    shifted = (logits.sigmoid() - _MARGIN).clamp(min=0)
    lacking = -(shifted**_NEGATIVE_FOCUS) * (1 - shifted).log()
    having = -F.logsigmoid(logits)
    if weights is not None:
        having = having * weights.to(logits.device)
    return targets * having + (1 - targets) * lacking


def plain_loss(
    logits: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    *,
    mix: Mix | None = None,
    counts: Mapping[str, float] | None = None,
) -> Tensor:
    """Return the (binary) cross entropy without weights, label smoothing and auxiliary loss; a scalar.

    It is what is measured in validation. For clips mixed by `mix`, it is computed with both labels, weighted by their
    shares.
    """
    loss = mean_loss(logits, labels, counts=counts)
    if mix is None:
        return loss
    others = mean_loss(logits, mix.partners_labels(labels), counts=counts)
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
    multilabel: MultilabelLoss = USUAL_LOSS,
) -> Tensor:
    """Return loss + `weight` x auxiliary loss (TPN's), a scalar.

    For clips mixed by `mix`, it is the loss with their own labels and that with their partners', weighted by their
    shares. The other arguments are those of `mean_loss`.
    """
    loss = mean_loss(logits, labels, counts=counts, smoothing=smoothing, multilabel=multilabel)
    if auxiliary:
        extra = mean_loss(auxiliary, labels, counts=counts, smoothing=smoothing, multilabel=multilabel)
        loss = loss + weight * extra
    if mix is None:
        return loss
    theirs = mix.partners_labels(labels)
    others = objective(
        logits, auxiliary, theirs, weight=weight, counts=counts, smoothing=smoothing, multilabel=multilabel
    )
    return mix.share * loss + (1 - mix.share) * others


def guessing_loss(classes: Mapping[str, int], *, weight: float, auxiliary: bool, multilabel: bool = False) -> float:
    """Return the objective of a uniform prediction, the natural scale of the loss: 1 / classes, or 1/2 for each."""
    own = (count * math.log(2) if multilabel else math.log(max(2, count)) for count in classes.values())
    entropy = sum(own) / len(classes)
    return entropy * (1 + weight) if auxiliary else entropy


def correct_clips(logits: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> Tensor:
    """Return the number of clips whose first-ranked class is theirs, or one of theirs; the mean over heads."""
    hits = []
    for head, values in logits.items():
        first, own = values.argmax(dim=1), labels[head]
        right = first == own if own.ndim == 1 else own.gather(1, first[:, None])[:, 0] == 1
        hits.append(right.sum())
    return torch.stack(hits).float().mean()


def _known(labels: Tensor) -> Tensor:
    return (labels if labels.ndim == 1 else labels[:, 0]) >= 0
