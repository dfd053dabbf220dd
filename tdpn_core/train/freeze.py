"""Keeping the first stages of a backbone as they are."""

from __future__ import annotations

from torch import nn

from tdpn_core.model.network import Network


def frozen_stages(model: Network, last: str) -> list[nn.Module]:
    """The modules of the backbone up to the stage named `last`; none of them with `none`."""
    if last == "none":
        return []
    stages = model.backbone.stages()
    names = list(stages)
    return [module for name in names[: names.index(last) + 1] for module in stages[name]]


def freeze(modules: list[nn.Module]) -> None:
    """No gradient for `modules`, and no new statistics: to be called again whenever the model was put into training."""
    for module in modules:
        module.requires_grad_(False).eval()
