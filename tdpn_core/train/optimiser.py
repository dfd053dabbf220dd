"""The optimiser, and its state as named tensors: a checkpoint must not depend on the order of parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from tdpn_core.config import TrainConfig


def create_optimiser(parameters: Iterable[nn.Parameter], config: TrainConfig) -> Optimizer:
    """The optimiser that `config` names, over all parameters alike."""
    if config.optimiser == "adamw":
        return AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)
    nesterov = config.momentum > 0
    return SGD(parameters, lr=config.lr, momentum=config.momentum, nesterov=nesterov, weight_decay=config.weight_decay)


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
    """Put back what `optimiser_tensors` gave, on each parameter's device; the step counters stay on the CPU."""
    for key, value in tensors.items():
        buffer, _, name = key.partition(".")
        parameter = parameters[name]
        optimiser.state[parameter][buffer] = value if value.ndim == 0 else value.to(parameter.device)
