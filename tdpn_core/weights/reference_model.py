"""A converted foreign checkpoint that runs with the input layout and the output of its reference model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tdpn_core.config.family_settings import SlowFastConfig
from tdpn_core.config.schema import ModelConfig
from tdpn_core.errors import UsageError
from tdpn_core.model.base import Network
from tdpn_core.model.baselines.slowfast import SlowFast
from tdpn_core.model.registry import build_model
from tdpn_core.model.without_values import without_values
from tdpn_core.weights.convert import Imported
from tdpn_core.weights.rename_rules import Report


class ReferenceModel(nn.Module):
    """The network of a checkpoint with the input layout and the kind of output of its own project.

    Like the references, it accepts clips of any number of frames. Normalisation of pixels is up to the caller.
    """

    def __init__(self, imported: Imported) -> None:
        super().__init__()
        self.imported = imported
        self.network = _built(imported.config, imported.weights)
        self.train(False)

    @property
    def config(self) -> ModelConfig:
        """Configuration of the network inside."""
        return self.imported.config

    @property
    def report(self) -> Report:
        """Which entries were filled from the file, and which were left out."""
        return self.imported.report

    def forward(self, x: Tensor | Sequence[Tensor]) -> Tensor:
        """Return the reference's output for `x`, a batch in the reference's layout.

        A network with two pathways takes the list (slow clip, fast clip), or the fast clip alone.

        Raises:
            UsageError: the shape does not fit this layout.
        """
        pathways = [x] if isinstance(x, Tensor) else list(x)
        clip = self._clip(pathways[-1])
        self._fit(clip.shape[2] // self.config.frames_per_step, pathways)
        if self.imported.answer == "steps":
            return self._steps(clip)
        logits: Tensor = self.network(clip)
        probabilities = self.imported.answer == "probabilities"
        out: Tensor = logits.softmax(1) if probabilities else logits
        return out

    def _clip(self, x: Tensor) -> Tensor:
        """Convert `x` to our layout: (N, C, T * frames_per_step, H, W)."""
        layout, channels = self.imported.layout, self.config.channels
        dimensions = {"NCTHW": 5, "NTCHW": 5, "N(TC)HW": 4, "NCHW": 4}[layout]
        if x.ndim != dimensions:
            raise UsageError(f"this network takes {layout}, not {tuple(x.shape)}")
        match layout:
            case "NTCHW":
                return x.transpose(1, 2).contiguous()
            case "N(TC)HW":
                return x.view(len(x), -1, channels, *x.shape[2:]).transpose(1, 2).contiguous()
            case "NCHW":
                return x.unsqueeze(2)
        return x

    def _fit(self, frames: int, pathways: Sequence[Tensor]) -> None:
        """Rebuild the network for another number of frames, or of slow frames, with the same weights."""
        config = self.imported.at(frames)
        if len(pathways) > self.imported.finding.pathways:
            raise UsageError(f"this network takes one clip, not {len(pathways)}")
        if len(pathways) == 2 and isinstance(config, SlowFastConfig):
            config = dataclasses.replace(config, alpha=pathways[1].shape[2] // pathways[0].shape[2])
        if config != self.network.config:
            mode = self.network.training
            self.network = _built(config, self.network.state_dict(keep_vars=True)).train(mode)
        backbone = self.network.backbone
        if len(pathways) == 2 and isinstance(backbone, SlowFast):
            slow, fast = pathways
            if not torch.equal(slow, backbone.slow_frames(fast)):
                raise UsageError(
                    "the slow clip does not consist of the frames of the fast clip that this project samples"
                )

    def _steps(self, clip: Tensor) -> Tensor:
        """Return logits per time step, (N, classes, T')."""
        means = self.network.feature_maps(clip).top.mean((3, 4)).transpose(1, 2)
        (linear,) = self.network.head.linear.values()
        logits: Tensor = linear(means)
        return logits.transpose(1, 2)


class PartModel(nn.Module):
    """A part of a network with the call signature of its own project."""

    def __init__(self, part: nn.Module, report: Report, *, of_frames: bool) -> None:
        super().__init__()
        self.part = part
        self.report = report
        self.of_frames = of_frames
        self.train(False)

    def forward(self, x: Tensor | Sequence[Tensor]) -> Tensor:
        """Map frames (N, C, H, W) to the same shape, or levels (N, C, T, H, W), low to high, to the fused one."""
        frames = self.of_frames and isinstance(x, Tensor)
        out: Tensor = self.part(x.unsqueeze(2)).squeeze(2) if frames else self.part(x)  # type: ignore[union-attr]
        return out


def fill(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Assign `weights` to a module built on the meta device; missing batch counters start at 0."""
    own = module.state_dict()
    missing = {name: torch.zeros(value.shape, dtype=value.dtype) for name, value in own.items() if name not in weights}
    module.load_state_dict({**missing, **weights}, assign=True)


def _built(config: ModelConfig, weights: dict[str, Tensor]) -> Network:
    """Return the network of `config` with `weights`."""
    with without_values():
        network = build_model(config)
    fill(network, weights)
    return network
