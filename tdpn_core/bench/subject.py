"""Subject of a measurement: a network and a batch of random clips."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor, nn

from tdpn_core import recipes
from tdpn_core.config.overrides import NO_OVERRIDES, TrainOverrides
from tdpn_core.config.schema import DataConfig, RunConfig
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.model.base import Network
from tdpn_core.model.flops import Cost, cost
from tdpn_core.model.registry import build_model
from tdpn_core.training.checkpoints import initialise
from tdpn_core.training.start import NOTHING, find_start

CLASSES = 400


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """A network's settings, its batch and its device."""

    config: RunConfig
    batch: int
    runtime: Runtime
    cost: Cost
    start: Path | None = None
    """Weights that the network starts from; None: random ones."""

    @property
    def name(self) -> str:
        """`tdpn-r50 8x224²`."""
        model = self.config.model
        return f"{model.name}-{model.arch} {model.num_frames}x{model.input_size}²"

    @property
    def operations(self) -> float:
        """Operations of the forward pass of one batch, two per multiply-accumulate."""
        return 2e9 * self.cost.gmac["total"] * self.batch

    def clips(self) -> Tensor:
        """Return random clips, the same for the same settings."""
        model = self.config.model
        torch.manual_seed(0)
        frames, side = model.num_frames * model.frames_per_step, model.input_size
        return torch.randn(self.batch, model.channels, frames, side, side).to(self.runtime.device)

    def labels(self) -> dict[str, Tensor]:
        """Return random labels: a class for each clip, or any number of classes in multi-label data."""
        counts = self.config.model.num_classes
        torch.manual_seed(0)
        if self.config.data.multilabel:
            return {
                head: torch.randint(2, (self.batch, count)).to(self.runtime.device) for head, count in counts.items()
            }
        return {head: torch.randint(count, (self.batch,)).to(self.runtime.device) for head, count in counts.items()}

    def build(self) -> Network:
        """Return the network with weights determined by the settings; statistics and gammas differ from initial ones.

        A branch whose last gamma is zero, as initially, would not affect the comparison of outputs.
        """
        torch.manual_seed(0)
        model = build_model(self.config.model)
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                nn.init.uniform_(module.weight, 0.5, 1.0)
                module.get_buffer("running_var").uniform_(0.5, 1.5)
        if self.start is not None:
            initialise(model, self.start)
        return model.to(self.runtime.device)


def choose_subject(*, batch: int, runtime: Runtime, overrides: TrainOverrides = NO_OVERRIDES) -> Subject:
    """Return the network of Kinetics-400's recipe with `overrides`, with 400 classes, and a batch of `batch` clips.

    Raises:
        ConfigError: an invalid value.
        CheckpointError: the weights to start from are not there, or do not fit.
    """
    classes = {"action": [str(number) for number in range(CLASSES)]}
    data = DataConfig(path="", dataset="random", classes=classes, classes_digest="", digest="", short_side=256)
    usual = recipes.kinetics400(data)
    plain = dataclasses.replace(usual, train=dataclasses.replace(usual.train, init=NOTHING))
    config, start = find_start(recipes.adjust(plain, overrides))
    return Subject(config=config, batch=batch, runtime=runtime, cost=cost(config.model), start=start)
