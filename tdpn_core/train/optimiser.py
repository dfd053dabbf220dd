"""The optimiser, and its state as named tensors: a checkpoint must not depend on the order of parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from tdpn_core.config import TrainConfig


def create_optimiser(parameters: Iterable[nn.Parameter], config: TrainConfig) -> Optimizer:
    """The optimiser that `config` names, over all parameters alike; on a GPU one kernel steps them all."""
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
    """Every buffer of every parameter that has taken a step, by `<buffer>.<parameter>`."""
    return {
        f"{buffer}.{name}": value
        for name, parameter in parameters.items()
        for buffer, value in optimiser.state.get(parameter, {}).items()
    }


def restore_optimiser(
    optimiser: Optimizer, parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]
) -> None:
    """Put back what `optimiser_tensors` gave, on each parameter's device; step counters only where needed there."""
    fused = optimiser.defaults["fused"]
    for key, value in tensors.items():
        buffer, _, name = key.partition(".")
        parameter = parameters[name]
        optimiser.state[parameter][buffer] = value.to(parameter.device) if fused or value.ndim else value
