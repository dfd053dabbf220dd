"""Where a network looked in one clip, and where its difference modules saw motion.

The class-activation map is Zhou et al.'s ("Learning Deep Features for Discriminative Localization", CVPR 2016) of the
map that the classifier averages: with the pyramid, the fused one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdpn_core.config import SamplingConfig
from tdpn_core.model.difference import LocalDifference, TemporalDifference
from tdpn_core.model.network import Network
from tdpn_core.sampling.pixels import normalise


@dataclass(frozen=True)
class Heat:
    """Maps (T, S, S) of a clip, each value at least 0."""

    activation: Tensor
    """Of the likeliest class, mean of the heads, at most 1."""

    motion: dict[str, Tensor]
    """By kind of difference module, `global` and `local`: its part of what leaves it, in [0, 1], mean of its levels."""

    scores: dict[str, Tensor]
    """Probabilities (classes,) of each head, float64."""


@torch.inference_mode()
def heat_of(network: Network, view: Tensor, sampling: SamplingConfig) -> Heat:
    """The maps of one view (C, F, S, S) uint8."""
    device = next(network.parameters()).device
    with _watching(network) as seen:
        features = network.feature_maps(normalise(view[None].to(device), sampling)).top
    logits: dict[str, Tensor] = network.head(features)
    steps, size = network.config.num_frames, (view.shape[2], view.shape[3])
    activations = [
        _activation(features[0], network.head.linear.get_parameter(f"{head}.weight")[values[0].argmax()])
        for head, values in logits.items()
    ]
    motion = {
        kind: torch.stack([_spread(part, steps, size) for part in parts]).mean(0) for kind, parts in seen.parts.items()
    }
    scores = {head: values[0].double().softmax(0).cpu() for head, values in logits.items()}
    return Heat(_spread(torch.stack(activations).mean(0), steps, size), motion, scores)


def _activation(features: Tensor, weight: Tensor) -> Tensor:
    """What speaks for a class at each place (T', H', W') of features (C, T', H', W'), its largest value 1."""
    evidence = torch.einsum("cthw,c->thw", features, weight).clamp_min(0)
    return evidence / evidence.max().clamp_min(1e-12)


def _spread(values: Tensor, steps: int, size: tuple[int, int]) -> Tensor:
    """(T', H', W') at every sampled frame and pixel, (T, S, S) on the CPU."""
    times = torch.arange(steps, device=values.device) * values.shape[0] // steps
    grown = F.interpolate(values[times][:, None].float(), size, mode="bilinear", align_corners=False)
    return grown[:, 0].cpu()


@dataclass
class _Seen:
    """Parts (T, H', W') of what left difference modules that they had put in, by kind, one a level."""

    parts: dict[str, list[Tensor]] = field(default_factory=dict)

    def keep(self, kind: str, entered: Tensor, added: Tensor) -> None:
        before, motion = entered[0].abs().mean(0), added[0].abs().mean(0)
        self.parts.setdefault(kind, []).append(motion / (before + motion).clamp_min(1e-12))

    def on_global(self, module: nn.Module, entered: tuple[Tensor], left: Tensor) -> None:
        self.keep("global", entered[0], left - entered[0])

    def on_local(self, module: nn.Module, entered: tuple[Any, Mapping[str, Tensor]], left: dict[str, Tensor]) -> None:
        assert isinstance(module, LocalDifference)
        for name, level in entered[1].items():
            added = left[name] - level if module.fusion == "add" else 2 * left[name] - level
            self.keep("local", level, added)


@contextmanager
def _watching(network: Network) -> Iterator[_Seen]:
    """Note what the difference modules do, where there are some."""
    seen = _Seen()
    hooks = []
    for module in network.modules():
        if isinstance(module, TemporalDifference):
            hooks += [part.register_forward_hook(seen.on_global) for part in module.on_global.values()]
            if module.local is not None:
                hooks.append(module.local.register_forward_hook(seen.on_local))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
