"""The optimiser, with its state as named tensors, so that checkpoints do not depend on parameter order."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from tdpn_core.checkpoint import TrainingState, standing
from tdpn_core.config.schema import TrainConfig
from tdpn_core.model.base import Network


def create_optimiser(parameters: Iterable[nn.Parameter], config: TrainConfig) -> Optimizer:
    """Create the optimiser that `config` names, for all parameters; on a GPU, with a fused kernel."""
    every = list(parameters)
    fused = all(parameter.is_cuda for parameter in every)
    if config.optimiser == "adamw":
        return AdamW(every, lr=config.lr, weight_decay=config.weight_decay, fused=fused)
    return SGD(
        every,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.momentum > 0,
        weight_decay=config.weight_decay,
        fused=fused,
    )


def optimiser_tensors(optimiser: Optimizer, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Return the optimiser's buffers by `<buffer>.<parameter>`, for every parameter that has been updated."""
    return {
        f"{buffer}.{name}": value
        for name, parameter in parameters.items()
        for buffer, value in optimiser.state.get(parameter, {}).items()
    }


def restore_optimiser(
    optimiser: Optimizer, parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]
) -> None:
    """Restore the result of `optimiser_tensors` on each parameter's device; step counters only if needed there."""
    fused = optimiser.defaults["fused"]
    for key, value in tensors.items():
        buffer, _, name = key.partition(".")
        parameter = parameters[name]
        optimiser.state[parameter][buffer] = value.to(parameter.device) if fused or value.ndim else value


def learning_rate(config: TrainConfig, epochs: float, *, drops: int = 0) -> float:
    """Return the learning rate after `epochs` epochs, which may be fractional.

    `drops` is the number of reductions by the plateau schedule. `step` divides by 10 at each milestone, `cosine` falls
    to zero over `config.epochs` (half a period of SGDR); all schedules rise linearly over `warmup_epochs` first.
    """
    warmup = min(1.0, epochs / config.warmup_epochs) if config.warmup_epochs > 0 else 1.0
    match config.schedule:
        case "step":
            scale = 0.1 ** sum(epochs >= milestone for milestone in config.milestones)
        case "plateau":
            scale = 0.1**drops
        case "cosine":
            after = max(0.0, epochs - config.warmup_epochs) / max(1e-9, config.epochs - config.warmup_epochs)
            scale = (1 + math.cos(math.pi * min(1.0, after))) / 2
    return config.lr * warmup * scale


def is_over(config: TrainConfig, state: TrainingState) -> bool:
    """Return whether training is over: all epochs are done, or `stop_after` epochs brought no improvement."""
    return state.epoch >= config.epochs or bool(config.stop_after and _stale(state) >= config.stop_after)


def _stale(state: TrainingState) -> int:
    """Return the epochs since the best one, with the highest standing."""
    best = (-1.0, -math.inf)
    stale = 0
    for row in state.history:
        result = standing(row)
        stale = 0 if result > best else stale + 1
        best = max(best, result)
    return stale


class WeightAverage:
    """Exponential moving average of a network's parameters and batch normalisation statistics."""

    def __init__(self, model: Network, decay: float) -> None:
        """Start as a copy of `model`."""
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Update the average with `model` after step `step`.

        The decay rises as (1 + step) / (10 + step) to its configured value, so that early steps are forgotten quickly.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        own, fresh = self.model.state_dict(), model.state_dict()
        moving = [name for name, value in own.items() if value.is_floating_point()]
        counters = [name for name, value in own.items() if not value.is_floating_point()]
        # over all tensors at once: on a GPU that is a few kernels instead of one for each
        get_ema_multi_avg_fn(decay)([own[name] for name in moving], [fresh[name] for name in moving], 0)
        if counters:  # torch refuses empty lists
            torch._foreach_copy_([own[name] for name in counters], [fresh[name] for name in counters])


def frozen_stages(model: Network, last: str) -> list[nn.Module]:
    """Return the backbone's modules up to the stage named `last`; empty for `none`."""
    if last == "none":
        return []
    stages = model.backbone.stages()
    names = list(stages)
    return [module for name in names[: names.index(last) + 1] for module in stages[name]]


def freeze(modules: list[nn.Module]) -> None:
    """Disable gradients and statistics updates of `modules`; call again after every `model.train()`."""
    for module in modules:
        module.requires_grad_(False).eval()
