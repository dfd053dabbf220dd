"""One optimiser step: what a network, its optimiser and a batch do to each other. The loop around it is `loop.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tdpn_core.checkpoint import load_weights
from tdpn_core.config import RunConfig
from tdpn_core.errors import TrainingError
from tdpn_core.model.factory import build_model
from tdpn_core.randomness import derive, derive_seed
from tdpn_core.sampling.augment import augment
from tdpn_core.sampling.loader import Batch
from tdpn_core.sampling.mixing import draw_mix
from tdpn_core.sampling.pixels import normalise
from tdpn_core.train.loss import objective
from tdpn_core.train.optimiser import create_optimiser, optimiser_tensors, restore_optimiser

_INITIAL, _STEP = 0, 1
"""First element of a derived seed's path: what the draw is for."""

_MIX = 2
"""Last element of the path of a step's mix, which no other path of that length ends with."""


class Outcome(NamedTuple):
    """What one step saw."""

    loss: float
    """The batch's mean loss, auxiliary share included."""

    correct: float
    """Clips that were right, the mean over heads; of mixed clips the share of the class that was right."""


class Learner:
    """A network and its optimiser: everything that a step changes."""

    def __init__(self, config: RunConfig, ids: Sequence[str], device: torch.device) -> None:
        """A fresh network on `device`; `ids` name the training clips in messages."""
        self.config = config
        self.ids = ids
        self.device = device
        torch.manual_seed(derive_seed(config.train.seed, _INITIAL))
        self.model = build_model(config.model).to(device)
        self.names = dict(self.model.named_parameters())
        self.optimiser = create_optimiser(self.names.values(), config.train)

    def step(self, batch: Batch, *, epoch: int, number: int, lr: float) -> Outcome:
        """Step `number` of the run, in `epoch`, at the learning rate `lr`.

        Raises:
            TrainingError: loss or gradient is not finite. The weights are as before the step, but the batch
                normalisation's running statistics are not: nothing may be saved after it.
        """
        settings, sampling = self.config.train, self.config.sampling
        torch.manual_seed(derive_seed(settings.seed, _STEP, number))  # dropout's draws depend on the step alone
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        labels = {head: values.to(self.device, non_blocking=True) for head, values in batch.labels.items()}
        clips = batch.clips.to(self.device, non_blocking=True)
        clips = normalise(augment(clips, batch.indices.tolist(), epoch, sampling, settings.seed), sampling)
        side = self.config.model.input_size
        mix = draw_mix(len(clips), side, side, sampling, derive(settings.seed, _STEP, number, _MIX))
        output = self.model(clips if mix is None else mix.clips(clips))
        loss = objective(output.logits, output.auxiliary, labels, weight=settings.auxiliary_weight, mix=mix)
        self.optimiser.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.names.values(), settings.clip_norm)
        if not torch.isfinite(loss + norm):
            names = ", ".join(self.ids[index] for index in batch.indices.tolist())
            raise TrainingError(
                f"loss {loss.item():.3g} and gradient norm {norm.item():.3g} are not finite at step {number}",
                where=f"clips {names}",
                hint="lower --lr, or look at these clips; the last checkpoint is from before this step",
            )
        self.optimiser.step()
        correct = _correct(output.logits, labels)
        if mix is not None:
            others = _correct(output.logits, mix.partners_labels(labels))
            correct = mix.share * correct + (1 - mix.share) * others
        return Outcome(loss.item(), correct)

    def weights(self) -> dict[str, Tensor]:
        """The network's state dict, for a checkpoint."""
        return self.model.state_dict()

    def tensors(self) -> dict[str, Tensor]:
        """The optimiser's buffers, for a checkpoint."""
        return optimiser_tensors(self.optimiser, self.names)

    def restore(self, weights: dict[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
        """Continue from what `weights` and `tensors` gave.

        Raises:
            CheckpointError: they are another network's.
        """
        load_weights(self.model, weights)
        restore_optimiser(self.optimiser, self.names, tensors)


def _correct(logits: dict[str, Tensor], labels: dict[str, Tensor]) -> float:
    hits = [(values.argmax(dim=1) == labels[head]).sum() for head, values in logits.items()]
    return torch.stack(hits).float().mean().item()
