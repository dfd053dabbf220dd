"""What a user changes of a recipe: one field for each option of `tdpn train`, and any other setting by its path."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tdpn_core.modality import Modality

PATHS: dict[str, str] = {
    "model": "model.name",
    "arch": "model.arch",
    "modality": "model.modality",
    "frames": "model.num_frames",
    "interval": "sampling.interval",
    "size": "model.input_size",
    "init": "train.init",
    "epochs": "train.epochs",
    "batch_size": "train.batch_size",
    "accumulate": "train.accumulate",
    "lr": "train.lr",
    "compile": "train.compile",
    "seed": "train.seed",
    "views": "sampling.views",
}
"""The setting that each field of `TrainOverrides` is short for."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOverrides:
    """Changes to the settings of a recipe or of another run; None keeps its value. `recipes.adjust` applies them."""

    model: str | None = None
    """Family of networks, see `tdpn models`; its own settings and sampling come with it."""

    arch: str | None = None
    """Depth of the backbone."""

    modality: Modality | None = None
    """`rgb` or `flow`, as the data is packed."""

    frames: int | None = None
    """Sampled frames of a clip."""

    interval: int | None = None
    """Frames from one sampled frame to the next, of dense sampling."""

    size: int | None = None
    """Side of the input in pixels; the short side of the frames follows it."""

    init: str | None = None
    """Initial weights: `none`, `imagenet`, a file, a run, or a name of the zoo."""

    epochs: int | None = None
    """Passes over the data; milestones and warm-up follow it."""

    batch_size: int | None = None
    """Clips of a training step, over all processes; the learning rate follows it."""

    accumulate: int | None = None
    """Parts that a batch is computed in, to save memory."""

    lr: float | None = None
    """Peak learning rate."""

    compile: bool | None = None
    """Run the network through `torch.compile`."""

    seed: int | None = None
    """Random seed."""

    views: str | None = None
    """Test views, clips x crops, such as `10x3`."""

    settings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Any setting by its path, such as `{"model.flow": "parallel"}`; takes precedence over a field for the same one."""

    def asked(self) -> set[str]:
        """The paths of the settings that are changed, such as `train.lr`."""
        return {path for name, path in PATHS.items() if getattr(self, name) is not None} | set(self.settings)

    def given(self) -> dict[str, Any]:
        """The fields that change something, as values for JSON: `TrainOverrides(**overrides.given())` is the same."""
        values = {name: getattr(self, name) for name in PATHS if getattr(self, name) is not None}
        return values | ({"settings": dict(self.settings)} if self.settings else {})


NO_OVERRIDES = TrainOverrides()
