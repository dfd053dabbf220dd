"""A foreign checkpoint ready to run: one of our networks that takes clips and answers as the reference does."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tdpn_core.config.schema import ModelConfig
from tdpn_core.errors import UsageError
from tdpn_core.model.base import Network
from tdpn_core.model.baselines.slowfast import SlowFast, SlowFastConfig
from tdpn_core.model.registry import build_model
from tdpn_core.weights.convert import Imported
from tdpn_core.weights.rename_rules import Report


class ReferenceModel(nn.Module):
    """The network of a checkpoint, called as its own project calls it: input layout and kind of output are its.

    It follows the number of frames of the clip it is given, as the references do. Normalisation stays outside.
    """

    def __init__(self, imported: Imported) -> None:
        super().__init__()
        self.imported = imported
        self.network = _built(imported.config, imported.weights)
        self.train(False)

    @property
    def config(self) -> ModelConfig:
        """The configuration of the network inside."""
        return self.imported.config

    @property
    def report(self) -> Report:
        """What was filled from the file, and what was left out."""
        return self.imported.report

    def forward(self, x: Tensor | Sequence[Tensor]) -> Tensor:
        """What the reference gives for `x`, a batch in the layout that the reference takes.

        A network of two pathways takes the list (slow clip, fast clip), or the fast clip alone.

        Raises:
            UsageError: a shape that this layout cannot have.
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
        """`x` as our networks take a clip: (N, C, T * frames_per_step, H, W)."""
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
        """Build the network for another number of frames, or of slow ones, around the weights that are there."""
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
                raise UsageError("the slow clip is not made of the fast one's frames that this project takes")

    def _steps(self, clip: Tensor) -> Tensor:
        """Logits of each time step, (N, classes, T')."""
        means = self.network.feature_maps(clip).top.mean((3, 4)).transpose(1, 2)
        (linear,) = self.network.head.linear.values()
        logits: Tensor = linear(means)
        return logits.transpose(1, 2)


class PartModel(nn.Module):
    """A part of a network, called as its own project calls it."""

    def __init__(self, part: nn.Module, report: Report, *, of_frames: bool) -> None:
        super().__init__()
        self.part = part
        self.report = report
        self.of_frames = of_frames
        self.train(False)

    def forward(self, x: Tensor | Sequence[Tensor]) -> Tensor:
        """Frames (N, C, H, W) to the same, or levels (N, C, T, H, W), low to high, to the fused one."""
        frames = self.of_frames and isinstance(x, Tensor)
        out: Tensor = self.part(x.unsqueeze(2)).squeeze(2) if frames else self.part(x)  # type: ignore[union-attr]
        return out


def fill(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Put `weights` into a module that was built without memory; counters that are not among them start at 0."""
    own = module.state_dict()
    missing = {name: torch.zeros(value.shape, dtype=value.dtype) for name, value in own.items() if name not in weights}
    module.load_state_dict({**missing, **weights}, assign=True)


def _built(config: ModelConfig, weights: dict[str, Tensor]) -> Network:
    """The network of `config` around `weights`."""
    with torch.device("meta"):
        network = build_model(config)
    fill(network, weights)
    return network
