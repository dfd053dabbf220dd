"""A running average of the weights, which generalises better than where the last step happened to end."""

from __future__ import annotations

import copy

import torch
from torch import nn

from tdpn_core.model.network import Network


class Average:
    """An exponential moving average of a network: parameters and the statistics of its batch normalisation."""

    def __init__(self, model: Network, decay: float) -> None:
        """It begins as a copy of `model`."""
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards `model` after step number `step`.

        The decay rises as (1 + step) / (10 + step) to its value: the first steps, far from anything good, fade fast.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        fresh = model.state_dict()
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                value.lerp_(fresh[name], 1 - decay)
            else:
                value.copy_(fresh[name])
