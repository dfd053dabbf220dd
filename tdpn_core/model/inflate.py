"""Loading a 2D ResNet trained on images, by torchvision's names, into a network over clips."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from tdpn_core.errors import CheckpointError
from tdpn_core.model.attention import Attention
from tdpn_core.model.blocks import Bottleneck
from tdpn_core.model.network import Network

LOCAL = "temporal_difference.local."
COUNTER = "num_batches_tracked"  # absent from files of before 2018


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inflation:
    """The account of a loaded file: every entry of the file and every entry of the network is in it."""

    loaded: tuple[str, ...]
    """The network's entries that were filled."""

    left_out: dict[str, str]
    """The file's entries that were not used, and why."""

    unfilled: tuple[str, ...]
    """The network's entries that keep their own start."""


def inflate(model: Network, images: Mapping[str, Tensor]) -> Inflation:
    """Fill the backbone, and the local module's CNN, with the state dict of a 2D ResNet of the same depth.

    A kernel of t x k x k is the image's k x k, copied t times and divided by t. The local module's 7x7 over 12
    channels is the mean of the image's over RGB; its bottlenecks are `layer1`, where that has bottlenecks. What
    follows attention (`bn2`, `bn3` of its blocks) is left at its start, so that these branches begin as zero.

    Raises:
        CheckpointError: an entry is missing, unknown or of another shape; the network is then untouched.
    """
    state = model.state_dict()
    left_out = {name: reason for name in images if (reason := _unused(name, model))}
    sources = {f"backbone.{name}": name for name in model.backbone.state_dict() if not _unused(name, model)}

    unknown = sorted(set(images) - set(sources.values()) - set(left_out))
    missing = sorted(name for name in set(sources.values()) - set(images) if not name.endswith(COUNTER))
    if unknown or missing:
        raise CheckpointError(
            f"not the weights of a 2D {model.config.arch}: "
            + "; ".join(f"{word} {_some(names)}" for word, names in (("lacks", missing), ("has", unknown)) if names),
            hint="give a ResNet of the same depth under torchvision's names",
        )

    sources |= _local_sources(model)
    values = {
        name: _inflated(name, images[source], state[name]) for name, source in sources.items() if source in images
    }
    with torch.no_grad():
        for name, value in values.items():
            state[name].copy_(value)
    return Inflation(
        loaded=tuple(values), left_out=left_out, unfilled=tuple(name for name in state if name not in values)
    )


def _unused(name: str, model: Network) -> str | None:
    """Why an entry of an image network, or of the backbone, has no counterpart on the other side; None: it has."""
    if name.startswith("fc."):
        return "the image classifier"
    for spot, part in model.backbone.named_modules():
        if isinstance(part, Attention):
            block = spot.removesuffix("conv2")
            if name.startswith(f"{spot}."):
                return "attention stands in its place"
            if name.startswith((f"{block}bn2.", f"{block}bn3.")):
                return "normalises attention, which starts untrained"
    return None


def _local_sources(model: Network) -> dict[str, str]:
    """The local module's entries that start as an image network's."""
    local = getattr(getattr(model, "temporal_difference", None), "local", None)
    if local is None:
        return {}
    # depths 18 and 34 have no bottlenecks to start the local module's from
    alike = ("conv1.", "layer1.") if isinstance(model.backbone.get_submodule("layer1.0"), Bottleneck) else ("conv1.",)
    return {f"{LOCAL}{name}": name for name in local.state_dict() if name.startswith(alike)}


def _inflated(name: str, image: Tensor, target: Tensor) -> Tensor:
    """An image network's entry in the shape of `target`."""
    value = image
    if target.ndim == 5 and image.ndim == 4:
        time = target.shape[2]
        if name == f"{LOCAL}conv1.weight":
            value = value.mean(1, keepdim=True).repeat(1, target.shape[1], 1, 1)
        value = value.unsqueeze(2).repeat(1, 1, time, 1, 1) / time
    if value.shape != target.shape:
        raise CheckpointError(
            f"{name} has shape {tuple(target.shape)}, the file's entry inflates to {tuple(value.shape)}",
            hint="image weights fit width 1 only",
        )
    return value


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
