"""Measure a network's speed in inference and training, compared with its plain form in the same run.

The plain form is the same network with the same weights and no optimisation: NCTHW tensors, 3D convolutions, separate
normalisations, the default allocator. The two alternate within each round, so that other jobs on the machine slow down
both alike; seconds are medians over the rounds, a ratio is the median of the rounds' ratios. Their outputs are
compared.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tdpn_core import defaults
from tdpn_core.bench.device import Peak, Taken, measure_peak, memory_of, take
from tdpn_core.bench.stages import stage_seconds, traced
from tdpn_core.bench.subject import Subject
from tdpn_core.model.base import Network
from tdpn_core.model.cpu.fold_bn import for_inference
from tdpn_core.model.cpu.malloc import hand_back_memory, keep_freed_memory
from tdpn_core.model.cpu.memory_layout import choose, set_layout
from tdpn_core.model.precision import choose_precision
from tdpn_core.training.loss import objective
from tdpn_core.training.optim import create_optimiser

BACKWARD = 2
"""Cost of a backward relative to a forward pass: gradients of input and weights cost as much each."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """One form of the network. Seconds are per batch."""

    seconds: dict[str, float]
    """Seconds of `forward`; in training also of `backward`, `optimiser` and the total `step`."""

    processor: float
    """Processor seconds of a step, over all threads."""

    memory: int | None
    """Bytes that a step needs in addition to weights, gradients and optimiser."""

    @property
    def step(self) -> float:
        """Seconds of a step."""
        return self.seconds["step"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bench:
    """Measurement of a network."""

    name: str
    what: str
    """`infer` or `train`."""

    device: str
    batch: int
    gmac: float
    operations: float
    """Operations per step, two per multiply-accumulate."""

    peak: Peak
    plain: Form
    chosen: Form
    ratio: float
    """Speed relative to the plain form, by wall-clock time."""

    processor_ratio: float
    """Speed relative to the plain form, by processor time."""

    difference: float
    """Largest difference between the two forms' logits, relative to the largest logit."""

    stages: dict[str, float]
    """Seconds of each part of the optimised form's forward pass."""

    @property
    def clips_per_second(self) -> float:
        """Clips per second of the optimised form."""
        return self.batch / self.chosen.step

    @property
    def share_of_peak(self) -> float:
        """Share of the peak rate reached by the optimised form."""
        return self.operations / self.chosen.step / self.peak.operations


class Stepper:
    """Runs steps of one form of the network and measures each part."""

    def __init__(self, model: Network, subject: Subject, *, compiled: bool = False) -> None:
        self.model = model
        self.subject = subject
        self.clips = subject.clips()
        self.network: Any = torch.compile(model) if compiled else model
        self.precision = choose_precision("auto", subject.runtime.device)  # the same for both forms

    def step(self) -> dict[str, Taken]:
        """Run one step."""
        return {"forward": take(self.forward, self.subject.runtime.device)}

    def forward(self) -> Tensor:
        """Return logits (N, classes)."""
        with torch.inference_mode(), self.precision.autocast():
            logits: Tensor = self.network(self.clips)
        return logits.float()


class TrainingStepper(Stepper):
    """Training steps with the recipe's optimiser."""

    def __init__(self, model: Network, subject: Subject, *, compiled: bool = False) -> None:
        super().__init__(model.train(), subject, compiled=compiled)
        self.labels = subject.labels()
        self.optimiser = create_optimiser(model.parameters(), subject.config.train)
        self._loss = torch.zeros(())

    def step(self) -> dict[str, Taken]:
        """Run the forward pass with loss, the backward pass, gradient clipping and the optimiser's step."""
        works = {"forward": self.forward, "backward": self.backward, "optimiser": self.optimise}
        return {name: take(work, self.subject.runtime.device) for name, work in works.items()}

    def forward(self) -> Tensor:
        """Return logits (N, classes) of the first head; the loss is stored for `backward`."""
        torch.manual_seed(0)  # dropout
        weight = self.subject.config.train.auxiliary_weight
        with self.precision.autocast():
            output = self.network(self.clips)
            self._loss = objective(output.logits, output.auxiliary, self.labels, weight=weight)
        first: Tensor = next(iter(output.logits.values()))
        return first.detach().float()

    def backward(self) -> None:
        """Compute the gradient."""
        self.optimiser.zero_grad()
        self._loss.backward()

    def optimise(self) -> None:
        """Update the weights."""
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.subject.config.train.clip_norm)
        self.optimiser.step()


def bench_inference(
    subject: Subject,
    *,
    rounds: int = defaults.BENCH_ROUNDS,
    compiled: bool = False,
    profile: Path | None = None,
    peak: Peak | None = None,
) -> Bench:
    """Measure inference of `subject`, as evaluation and prediction run it, compared with its plain form."""
    plain = Stepper(subject.build().eval(), subject)
    chosen = Stepper(for_inference(subject.build(), subject.runtime.device), subject, compiled=compiled)
    return _bench("infer", plain, chosen, rounds, profile, peak)


def bench_training(
    subject: Subject,
    *,
    rounds: int = defaults.BENCH_ROUNDS,
    compiled: bool = False,
    profile: Path | None = None,
    peak: Peak | None = None,
) -> Bench:
    """Measure training steps of `subject`, compared with its plain form."""
    model = subject.build()
    set_layout(model, choose(subject.runtime.device.type, training=True))
    plain, chosen = TrainingStepper(subject.build(), subject), TrainingStepper(model, subject, compiled=compiled)
    return _bench("train", plain, chosen, rounds, profile, peak)


def _bench(what: str, plain: Stepper, chosen: Stepper, rounds: int, profile: Path | None, peak: Peak | None) -> Bench:
    subject, device = chosen.subject, chosen.subject.runtime.device
    outputs = [stepper.forward() for stepper in (plain, chosen)]
    taken: dict[str, list[dict[str, Taken]]] = {"plain": [], "chosen": []}
    for _ in range(rounds):
        for name, stepper in (("plain", plain), ("chosen", chosen)):
            _settle(stepper, plain=name == "plain")
            taken[name].append(stepper.step())
    with traced(profile):
        chosen.step()
    forms = {
        name: _form(taken[name], memory_of(stepper.step, device))
        for name, stepper in (("plain", plain), ("chosen", chosen))
    }
    return Bench(
        name=subject.name,
        what=what,
        device=str(subject.runtime),
        batch=subject.batch,
        gmac=subject.cost.gmac["total"],
        operations=subject.operations * (1 if what == "infer" else 1 + BACKWARD),
        peak=peak or measure_peak(subject.runtime),
        plain=forms["plain"],
        chosen=forms["chosen"],
        ratio=_ratio(taken, lambda part: part.seconds),
        processor_ratio=_ratio(taken, lambda part: part.processor),
        difference=float((outputs[0] - outputs[1]).abs().max() / outputs[0].abs().max()),
        stages=stage_seconds(chosen.model, lambda: _uncompiled(chosen), device),
    )


def _settle(stepper: Stepper, *, plain: bool) -> None:
    """Warm up with the form's own allocator settings, which the other form has changed."""
    if plain:
        hand_back_memory()
    else:
        keep_freed_memory()
    stepper.step()


def _uncompiled(stepper: Stepper) -> None:
    """Run a forward pass with hooks, which a compiled network would skip."""
    stepper.network = stepper.model
    stepper.forward()


def _form(taken: list[dict[str, Taken]], memory: int | None) -> Form:
    seconds = {name: statistics.median(parts[name].seconds for parts in taken) for name in taken[0]}
    step = statistics.median(sum(part.seconds for part in parts.values()) for parts in taken)
    processor = statistics.median(sum(part.processor for part in parts.values()) for parts in taken)
    return Form(seconds={**seconds, "step": step}, processor=processor, memory=memory)


def _ratio(taken: dict[str, list[dict[str, Taken]]], of: Callable[[Taken], float]) -> float:
    pairs = zip(taken["plain"], taken["chosen"], strict=True)
    return statistics.median(sum(map(of, plain.values())) / sum(map(of, chosen.values())) for plain, chosen in pairs)
