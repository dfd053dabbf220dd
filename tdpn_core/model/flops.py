"""Cost of a network: parameters, and multiply-accumulates of one forward pass."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tdpn_core.config.schema import ModelConfig
from tdpn_core.model.registry import build_model
from tdpn_core.model.without_values import without_values


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """Cost of one clip in inference, without the auxiliary head."""

    parameters: int
    """Number of parameters needed for inference."""

    training_parameters: int
    """Number of parameters including the auxiliary head."""

    gmac: dict[str, float]
    """10^9 multiply-accumulates of convolutions, linear layers and attention, by part, and `total`."""


def count_parameters(module: nn.Module | None) -> int:
    """Return the number of trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters()) if module is not None else 0


def cost(config: ModelConfig, *, size: tuple[int, int] | None = None) -> Cost:
    """Return the cost of `config`'s network for one clip of `size` (height, width); default: its input size.

    Nothing is computed: the network is built on the meta device.
    """
    height, width = size or (config.input_size, config.input_size)
    with without_values():
        model = build_model(config).eval()
        clip = torch.empty(1, config.channels, config.num_frames * config.frames_per_step, height, width)
    every = count_parameters(model)
    training = count_parameters(model.auxiliary_head)
    _remove_uncounted(model)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(clip)
    counts = counter.get_flop_counts()
    parts = {name: f"{type(model).__name__}.{name}" for name, _ in model.named_children() if name != "auxiliary_head"}
    # the counter counts two operations per multiply-accumulate
    gmac = {name: sum(counts[path].values()) / 2e9 for name, path in parts.items() if path in counts}
    return Cost(
        parameters=every - training,
        training_parameters=every,
        gmac={**gmac, "total": sum(counts["Global"].values()) / 2e9},
    )


_UNCOUNTED = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.LayerNorm | nn.ReLU | nn.GELU


def _remove_uncounted(model: nn.Module) -> None:
    """Remove layers without multiply-accumulates that keep the shape: torch takes most of the time for these shapes."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _UNCOUNTED):
                setattr(parent, name, nn.Identity())
