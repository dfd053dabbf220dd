"""The attentive probe: one learned query attends over the time steps of frozen features, and a linear layer classifies.

It is the network's own head (`model.heads.Head`), trained with AdamW on standardised tokens, the steps and their
changes. Its weight decay is chosen by cross-validation among the training clips. The standardisation is multiplied into
the projections.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from tdpn_core.features.store import Features
from tdpn_core.model.heads import Head, with_changes
from tdpn_core.progress import Progress
from tdpn_core.rng import derive, derive_seed
from tdpn_core.wording import counted

Floats = npt.NDArray[np.float64]

DECAYS = (0.1, 1.0, 5.0)
"""Weight decays (AdamW's) that cross-validation chooses from."""

USUAL = 1.0
"""The weight decay where a class has too few clips for cross-validation, or there are many clips."""

FOLDS = 3
MANY_ROWS = 5_000
"""Training rows from which the weight decay is not chosen: it matters less, and costs more."""

STEPS = 80
EPOCHS = 30
"""A fit has this number of epochs, but at least `STEPS` steps."""

BATCH = 256
RATE = 0.01
DROPOUT = 0.5


@dataclass(frozen=True)
class AttentiveProbe:
    """A head that attends."""

    head: Head
    pooling: Literal["attentive"] = "attentive"

    @torch.inference_mode()
    def probabilities(self, values: npt.NDArray[np.float32]) -> dict[str, Floats]:
        """Map features (rows, steps, channels) to probabilities (rows, classes) by head."""
        logits = self.head.eval()(torch.from_numpy(values).transpose(1, 2)[..., None, None])
        return {name: found.double().softmax(1).numpy() for name, found in logits.items()}

    def weights(self) -> dict[str, Tensor]:
        """Return the weights of the network's head by name."""
        return {name: value.detach().clone() for name, value in self.head.state_dict().items()}


def fit_attentive(known: Features, seed: int, progress: Progress) -> AttentiveProbe:
    """Fit one head on the training clips of all kinds of labels; `progress` gets a line about its weight decay."""
    values = with_changes(torch.from_numpy(known.values).transpose(1, 2))
    centre, scale = values.mean((0, 1)), values.std((0, 1))
    scale = torch.where(scale > 0, scale, torch.ones(()))
    rows = _Rows(
        (values - centre) / scale,
        {name: torch.from_numpy(labels[known.clip]) for name, labels in known.labels.items()},
        {name: len(known.config.data.classes[name]) for name in known.labels},
    )
    decay, why = _choose_decay(rows, known.clip, seed)
    progress.say(f"weight decay = {decay:g}, {why}")
    head = _train(rows, decay, seed)
    _fold(head, centre, scale)
    return AttentiveProbe(head)


@dataclass(frozen=True)
class _Rows:
    tokens: Tensor
    """(rows, steps, channels), standardised."""

    labels: Mapping[str, Tensor]
    """(rows,) by head; -1: not labelled."""

    classes: Mapping[str, int]

    def at(self, rows: Tensor) -> _Rows:
        return _Rows(self.tokens[rows], {name: own[rows] for name, own in self.labels.items()}, self.classes)


def _choose_decay(rows: _Rows, clip: npt.NDArray[np.int64], seed: int) -> tuple[float, str]:
    """Return the weight decay, and how it was chosen. Rows of one clip stay in one fold."""
    from sklearn.model_selection import StratifiedGroupKFold

    labels = next(iter(rows.labels.values())).numpy()
    fewest = min(len(np.unique(clip[labels == label])) for label in np.unique(labels[labels >= 0]))
    if fewest < 2:
        return USUAL, f"not chosen: a class has {counted(fewest, 'clip')}"
    if len(labels) > MANY_ROWS:
        return USUAL, f"not chosen: {len(labels)} rows"
    folds = StratifiedGroupKFold(min(FOLDS, fewest), shuffle=True, random_state=seed)
    losses = np.zeros(len(DECAYS))
    for inside, outside in folds.split(labels, labels, clip):
        train, held_out = rows.at(torch.from_numpy(inside)), rows.at(torch.from_numpy(outside))
        losses += [_loss(_train(train, decay, seed), held_out) for decay in DECAYS]
    chosen = DECAYS[int(losses.argmin())]
    return chosen, f"chosen by {folds.get_n_splits()}-fold cross-validation of the training clips"


def _train(rows: _Rows, decay: float, seed: int) -> Head:
    count = len(rows.tokens)
    batches = math.ceil(count / BATCH)
    epochs = max(EPOCHS, math.ceil(STEPS / batches))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed))
        head = Head(rows.tokens.shape[2] // 2, rows.classes, DROPOUT, "attentive").train()
        optimiser = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * batches)
        for epoch in range(epochs):
            order = torch.from_numpy(derive(seed, epoch).permutation(count))
            for chosen in order.tensor_split(batches):
                optimiser.zero_grad()
                _objective(head, rows.at(chosen)).backward()
                optimiser.step()
                schedule.step()
    return head.eval()


def _objective(head: Head, rows: _Rows) -> Tensor:
    logits = head.classify_tokens(rows.tokens)
    losses = [F.cross_entropy(logits[name], own, ignore_index=-1, reduction="sum") for name, own in rows.labels.items()]
    labelled = sum(int((own >= 0).sum()) for own in rows.labels.values())
    return torch.stack(losses).sum() / max(1, labelled)


@torch.inference_mode()
def _loss(head: Head, rows: _Rows) -> float:
    return float(_objective(head, rows))


def _fold(head: Head, centre: Tensor, scale: Tensor) -> None:
    """Make a head for tokens of one for (tokens - centre) / scale."""
    if head.attention is None:
        raise TypeError("the head has no attention")
    with torch.no_grad():
        for linear in (head.attention.score, head.attention.value):
            linear.weight.div_(scale)
            linear.bias.sub_(linear.weight @ centre)
