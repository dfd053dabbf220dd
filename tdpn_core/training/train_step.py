"""One optimiser step: how a network, its optimiser and a batch change each other. The loop is in `trainer.py`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tdpn_core.checkpoint import load_weights
from tdpn_core.config.schema import RunConfig
from tdpn_core.distributed.consensus import run_in_lockstep
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.distributed.sync_batchnorm import synchronise
from tdpn_core.errors import TrainingError
from tdpn_core.labels import Labels
from tdpn_core.model.base import Network
from tdpn_core.model.cpu.memory_layout import choose, set_layout
from tdpn_core.model.precision import choose_precision
from tdpn_core.model.registry import build_model
from tdpn_core.rng import derive, derive_seed
from tdpn_core.sampling.augment import augment
from tdpn_core.sampling.loader import Batch
from tdpn_core.sampling.mixup import draw_mix
from tdpn_core.sampling.transforms import normalise
from tdpn_core.signals import StopRequest
from tdpn_core.training.device import (
    compiler_fault,
    largest_that_fits,
    out_of_memory,
    recompute_activations,
    too_few,
)
from tdpn_core.training.loss import (
    MultilabelLoss,
    correct_clips,
    guessing_loss,
    label_counts,
    objective,
    plain_loss,
    positive_weights,
)
from tdpn_core.training.optim import (
    WeightAverage,
    create_optimiser,
    freeze,
    frozen_stages,
    optimiser_tensors,
    restore_optimiser,
)

_NO_LABELS: Mapping[str, Labels] = {}

_INITIAL, _STEP = 0, 1
"""First element of a derived seed's path: the purpose of the random numbers."""

_MIX = 2
"""Last element of the seed's path for a step's mixup, not used by other paths of that length."""

_RANK = 3
"""Precedes the rank in the seed's path for ranks other than 0."""

_RAW = "raw."
_SCALE, _GROWTH = "scaler.scale", "scaler.growth_tracker"


class Outcome(NamedTuple):
    """Results of one step."""

    objective: float
    """The minimised loss: the batch mean, with label smoothing and auxiliary loss."""

    loss: float
    """The batch's mean (binary) cross entropy alone, comparable to validation."""

    correct: float
    """Number of correct clips, averaged over heads; for mixed clips, the share of the predicted class."""

    clips: int
    """Number of clips in the batch. All numbers are sums or means over all processes."""

    norm: float
    """Gradient norm before clipping. Not finite if fp16 overflowed; that step changes no weights."""


class Learner:
    """A network and all state that a step changes: weights, their average, the optimiser, the loss scale."""

    def __init__(
        self, config: RunConfig, ids: Sequence[str], runtime: Runtime, labels: Mapping[str, Labels] = _NO_LABELS
    ) -> None:
        """Create an untrained network on the device of `runtime`.

        `ids` name the training clips in messages; `labels` are theirs, which weight the loss of multi-label data.
        """
        self.config = config
        self.ids = ids
        self.runtime = runtime
        self.device = runtime.device
        settings = config.train
        torch.manual_seed(derive_seed(settings.seed, _INITIAL))
        self.model = build_model(config.model).to(self.device)
        set_layout(self.model, choose(self.device.type, training=True))
        if settings.sync_bn and runtime.world > 1:
            synchronise(self.model)
        self.average = WeightAverage(self.model, settings.ema) if settings.ema else None
        self.frozen = frozen_stages(self.model, settings.frozen)
        freeze(self.frozen)
        self.trainable = {name: value for name, value in self.model.named_parameters() if value.requires_grad}
        self.optimiser = create_optimiser(self.trainable.values(), settings)
        self.precision = choose_precision(settings.precision, self.device)
        if settings.checkpointing:
            recompute_activations(self.model)
        parallel = runtime.parallel(self.model)
        self.network: Any = torch.compile(parallel) if settings.compile else parallel
        weights = positive_weights(labels, settings.positive_weight) if config.data.multilabel else {}
        self.multilabel = MultilabelLoss(settings.multilabel_loss, weights)
        guess = guessing_loss(
            config.model.num_classes,
            weight=settings.auxiliary_weight,
            auxiliary=self._auxiliary,
            multilabel=config.data.multilabel,
        )
        self.highest_loss = settings.max_loss_ratio * guess or math.inf

    def step(self, batch: Batch, *, number: int, lr: float) -> Outcome:
        """Run step `number` at the learning rate `lr`.

        Raises:
            TrainingError: the loss or gradient is not finite, the loss exploded, the device is out of memory, or
                there are too few clips for batch normalisation. The weights are unchanged, but the running statistics
                are not: the state must not be saved afterwards.
            DeviceError: compilation was requested, but is not possible here.
        """
        try:
            return self._step(batch, number, lr)
        except torch.OutOfMemoryError:
            pass  # memory of the step is freed only after the exception
        except RuntimeError as error:
            fault = compiler_fault(error) if self.config.train.compile else None
            if fault is None:
                raise
            raise fault from error
        except ValueError as error:
            if not too_few(error):
                raise
            what = "batch normalisation needs more than one value per channel, but one clip at a time gives one"
            hint = "use a larger --batch-size, fewer processes, a smaller --accumulate, or a larger --size"
            raise TrainingError(what, hint=hint) from error
        raise self._out_of_memory(batch)

    def weights(self) -> dict[str, Tensor]:
        """The state dict of `eval_model`, for a checkpoint."""
        return self.eval_model.state_dict()

    def state_dict(self) -> dict[str, Tensor]:
        """Return other tensors for a checkpoint: optimiser, loss scale, and the raw weights if an average is kept."""
        tensors = optimiser_tensors(self.optimiser, self.trainable)
        if self.average is not None:
            tensors |= {_RAW + name: value for name, value in self.model.state_dict().items()}
        if self.precision.scaler.is_enabled():
            state = self.precision.scaler.state_dict()
            tensors |= {_SCALE: torch.tensor(state["scale"]), _GROWTH: torch.tensor(state["_growth_tracker"])}
        return tensors

    def load_state_dict(self, weights: dict[str, Tensor], state: Mapping[str, Tensor]) -> None:
        """Continue from the results of `weights` and `state_dict`.

        Raises:
            CheckpointError: they belong to another network.
        """
        raw = {name.removeprefix(_RAW): value for name, value in state.items() if name.startswith(_RAW)}
        load_weights(self.eval_model, weights)
        if self.average is not None:
            load_weights(self.model, raw)
        scaler = self.precision.scaler
        if scaler.is_enabled() and _SCALE in state:
            kept = {"scale": state[_SCALE].item(), "_growth_tracker": int(state[_GROWTH])}
            scaler.load_state_dict(scaler.state_dict() | kept)
        own = {name: value for name, value in state.items() if not name.startswith((_RAW, "scaler."))}
        restore_optimiser(self.optimiser, self.trainable, own)

    def start_from_model(self) -> None:
        """Restart the average after `model` was filled with other weights."""
        if self.average is not None:
            load_weights(self.average.model, self.model.state_dict())

    @property
    def eval_model(self) -> Network:
        """The network that is validated and stored: the average if there is one."""
        return self.model if self.average is None else self.average.model

    @property
    def _auxiliary(self) -> bool:
        return getattr(self.model, "auxiliary_head", None) is not None

    def _step(self, batch: Batch, number: int, lr: float) -> Outcome:
        settings, scaler = self.config.train, self.precision.scaler
        path = self._path(number)
        torch.manual_seed(derive_seed(settings.seed, *path))  # dropout depends only on step and process
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self._clear()
        mixing = derive(settings.seed, *path, _MIX)
        counts = self._counts(batch)
        *parts, last = _parts(batch, settings.accumulate)
        with self.runtime.no_sync(self.network):  # gradients are exchanged once, with the last part's
            results = [self._learn(part, counts, mixing) for part in parts]
        results.append(self._learn(last, counts, mixing))
        scaler.unscale_(self.optimiser)
        norm = torch.nn.utils.clip_grad_norm_(self.trainable.values(), settings.clip_norm)
        # the only synchronisation with the device
        lowered, plain, correct, norm = torch.cat([torch.stack(results).sum(0), norm[None]]).tolist()
        outcome = self._outcome(lowered, plain, correct, len(batch.indices), norm)
        run_in_lockstep(self.runtime, StopRequest(), lambda: self._check(lowered, outcome, batch, number))
        scaler.step(self.optimiser)
        scaler.update()
        if self.average is not None and math.isfinite(outcome.norm):
            self.average.update(self.model, number)
        return outcome

    def _learn(self, part: Batch, counts: Mapping[str, float], mixing: np.random.Generator) -> Tensor:
        """Add the gradient of `part`, with losses averaged over `counts`; returns objective, loss and hits, (3,)."""
        settings, sampling = self.config.train, self.config.sampling
        # in the loop they are there
        labels = {head: values.to(self.device, non_blocking=True) for head, values in part.labels.items()}
        clips = part.clips.to(self.device, non_blocking=True)
        clips = normalise(
            augment(clips, part.indices.tolist(), part.visits.tolist(), sampling, settings.seed), sampling
        )
        side = self.config.model.input_size
        mix = draw_mix(len(clips), side, side, sampling, mixing)
        with self.precision.autocast():
            output = self.network(clips if mix is None else mix.clips(clips))
            loss = objective(
                output.logits,
                output.auxiliary,
                labels,
                weight=settings.auxiliary_weight,
                mix=mix,
                counts=counts,
                smoothing=settings.label_smoothing,
                multilabel=self.multilabel,
            )
        with torch.no_grad():
            plain = plain_loss(output.logits, labels, mix=mix, counts=counts)
        self.runtime.mark()  # not reached by a process that hangs in the forward pass
        self.precision.scaler.scale(loss).backward()
        correct = correct_clips(output.logits, labels)
        if mix is not None:
            theirs = correct_clips(output.logits, mix.partners_labels(labels))
            correct = mix.share * correct + (1 - mix.share) * theirs
        return torch.stack([loss.detach(), plain.to(loss.dtype), correct])

    def _path(self, number: int) -> tuple[int, ...]:
        """Return the seed path of a step: rank 0 has that of a single process, other ranks their own."""
        rank = self.runtime.rank
        return (_STEP, number, _RANK, rank) if rank else (_STEP, number)

    def _counts(self, batch: Batch) -> dict[str, float]:
        """Return by head what losses are divided by, so that the mean over processes is the mean over all clips."""
        counts = label_counts(batch.labels) if batch.counts is None else batch.counts
        sums = self.runtime.sums([float(count) for count in counts.values()])
        return dict(zip(counts, (value / self.runtime.world for value in sums), strict=True))

    def _outcome(self, lowered: float, plain: float, correct: float, clips: int, norm: float) -> Outcome:
        lowered, plain, correct, total = self.runtime.sums([lowered, plain, correct, float(clips)])
        world = self.runtime.world
        return Outcome(lowered / world, plain / world, correct, int(total), norm)

    def _check(self, loss: float, outcome: Outcome, batch: Batch, number: int) -> None:
        """Return None, or the error of this process; `loss` is its own objective."""
        fault = ""
        if not (math.isfinite(loss) and (math.isfinite(outcome.norm) or self.precision.may_overflow())):
            fault = f"loss {loss:.3g} and gradient norm {outcome.norm:.3g} are not finite"
        elif outcome.objective > self.highest_loss:
            fault = f"loss {outcome.objective:.3g} is over {self.config.train.max_loss_ratio:g} times that of guessing"
        if fault and (math.isfinite(outcome.objective) or not math.isfinite(loss)):
            names = ", ".join(self.ids[index] for index in batch.indices.tolist())
            raise TrainingError(
                f"{fault} at step {number}",
                where=f"clips {names}",
                hint="lower --lr, or check these clips; the last checkpoint precedes this step",
            )

    def _clear(self) -> None:
        """Prepare a step: clear gradients and set training mode, except for frozen modules."""
        self.optimiser.zero_grad()
        self.model.train()
        freeze(self.frozen)

    def _out_of_memory(self, batch: Batch) -> TrainingError:
        settings = self.config.train
        part = next(_parts(batch, settings.accumulate))

        def run(count: int) -> None:
            self._clear()
            labels = {head: values[:count] for head, values in part.labels.items()}
            fewer = Batch(part.clips[:count], labels, part.indices[:count], part.visits[:count])
            with self.runtime.no_sync(self.network):  # the others are not here
                self._learn(fewer, label_counts(part.labels), derive(settings.seed))

        fitting = largest_that_fits(run, len(part.indices))
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "the CPU"
        shape = tuple(part.clips.shape)
        return out_of_memory(
            shape, fitting, batch_size=settings.batch_size, accumulate=settings.accumulate, device=name
        )


def _parts(batch: Batch, count: int) -> Iterator[Batch]:
    """Split `batch` into `count` parts whose sizes differ by at most one, for any number of clips."""
    total = len(batch.indices)
    count = min(count, total)
    for number in range(count):
        part = slice(number * total // count, (number + 1) * total // count)
        labels = {head: values[part] for head, values in batch.labels.items()}
        yield Batch(batch.clips[part], labels, batch.indices[part], batch.visits[part])
