"""Keeping the first stages of a backbone as they are."""

from __future__ import annotations

from torch import nn

from tdpn_core.errors import ConfigError

_STAGES = {"stem": ("conv1", "bn1"), "res2": ("layer1",), "res3": ("layer2",), "res4": ("layer3",), "res5": ("layer4",)}


def frozen_stages(model: nn.Module, last: str) -> list[nn.Module]:
    """The modules of `model.backbone` up to the stage named `last`; none of them with `none`.

    Raises:
        ConfigError: the backbone has no stages of these names.
    """
    if last == "none":
        return []
    backbone, stages = model.get_submodule("backbone"), list(_STAGES)
    names = [name for stage in stages[: stages.index(last) + 1] for name in _STAGES[stage]]
    missing = [name for name in names if not hasattr(backbone, name)]
    if missing:
        raise ConfigError(f"this backbone has no {missing[0]}, so train.frozen cannot be {last}")
    return [backbone.get_submodule(name) for name in names]


def freeze(modules: list[nn.Module]) -> None:
    """No gradient for `modules`, and no new statistics: to be called again whenever the model was put into training."""
    for module in modules:
        module.requires_grad_(False).eval()
