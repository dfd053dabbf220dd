"""One step of a tiny network on a fixed batch of seven clips, by one process or its parts by several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import torch

from tdpn_core.config.families import model_config
from tdpn_core.config.schema import DataConfig, RunConfig, SamplingConfig, TrainConfig
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.sampling.loader import Batch
from tdpn_core.training import train_step as step_module
from tdpn_core.training.train_step import Learner, Outcome

IDS = [f"clip{number}" for number in range(7)]
CONFIG = RunConfig(
    recipe="small",
    model=model_config(
        arch="r18", width=0.125, input_size=32, num_frames=2, num_classes={"verb": 3, "noun": 4}, dropout=0.0
    ),
    sampling=SamplingConfig(),
    train=TrainConfig(batch_size=7, optimiser="sgd", lr=0.1, momentum=0.9, sync_bn=True),
    data=DataConfig(path="d", dataset="x", classes={}, classes_digest="c", digest="d" * 64, short_side=32),
)


def batch(rank: int, world: int) -> Batch:
    """Rank's part of the batch: some clips lack a verb, some a noun, and parts are uneven."""
    generator = torch.Generator().manual_seed(0)
    clips = torch.randint(0, 256, (7, 3, 2 * CONFIG.model.frames_per_step, 32, 32), generator=generator)
    labels = {"verb": torch.tensor([0, -1, 2, 1, -1, 0, 1]), "noun": torch.tensor([3, 2, -1, -1, -1, 0, 1])}
    part = slice(rank, None, world)
    return Batch(
        clips.to(torch.uint8)[part],
        {head: values[part] for head, values in labels.items()},
        torch.arange(7)[part],
        torch.zeros(7, dtype=torch.long)[part],
    )


def step(runtime: Runtime, *, fixed_norm: bool = False, **settings: Any) -> tuple[Learner, Outcome]:
    """Two steps, so that momentum takes part, in float64: seven clips' batch statistics are ill-conditioned.

    `fixed_norm`: batch normalisation by its running statistics.
    """
    config = replace(CONFIG, train=replace(CONFIG.train, **settings))
    with mock.patch.object(step_module, "normalise", _in_float64(step_module.normalise)):
        torch.set_default_dtype(torch.float64)
        try:
            return _step(runtime, config, fixed_norm)
        finally:
            torch.set_default_dtype(torch.float32)


def _in_float64(normalise: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    return lambda *arguments: normalise(*arguments).double()


def _step(runtime: Runtime, config: RunConfig, fixed_norm: bool) -> tuple[Learner, Outcome]:
    learner = Learner(config, IDS, runtime)
    if fixed_norm:
        for module in learner.model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.train = lambda mode=True, module=module: module  # type: ignore[method-assign, misc]
                module.training = False
    for number in range(2):
        outcome = learner.step(batch(runtime.rank, runtime.world), number=number, lr=0.1)
    return learner, outcome
