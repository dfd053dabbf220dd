"""User changes to a recipe: one field per option of `tdpn train`, and any other setting by its path."""

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
"""Setting that each field of `TrainOverrides` refers to."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOverrides:
    """Changes to the settings of a recipe or of another run; None keeps the value. Applied by `recipes.adjust`."""

    model: str | None = None
    """Family of networks, see `tdpn models`; includes its own settings and sampling."""

    arch: str | None = None
    """Depth of the backbone."""

    modality: Modality | None = None
    """`rgb` or `flow`, as the data is packed."""

    frames: int | None = None
    """Sampled frames per clip."""

    interval: int | None = None
    """Distance of sampled frames in frames, for dense sampling."""

    size: int | None = None
    """Input size in pixels; the short side of the frames is scaled with it."""

    init: str | None = None
    """Initial weights: `none`, `imagenet`, a file, a run, or a name of the zoo."""

    epochs: int | None = None
    """Training epochs; milestones and warm-up are scaled with it."""

    batch_size: int | None = None
    """Clips per step, over all processes; the learning rate is scaled with it."""

    accumulate: int | None = None
    """Parts that a batch is computed in, to save memory."""

    lr: float | None = None
    """Peak learning rate."""

    compile: bool | None = None
    """Compile the network with `torch.compile`."""

    seed: int | None = None
    """Random seed."""

    views: str | None = None
    """Test views, clips x crops, such as `10x3`."""

    settings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Any setting by its path, such as `{"model.flow": "parallel"}`; overrides a field for the same setting."""

    def asked(self) -> set[str]:
        """Return the paths of the changed settings, such as `train.lr`."""
        return {path for name, path in PATHS.items() if getattr(self, name) is not None} | set(self.settings)

    def given(self) -> dict[str, Any]:
        """Return the fields that are set, as JSON values: `TrainOverrides(**overrides.given())` is equal."""
        values = {name: getattr(self, name) for name in PATHS if getattr(self, name) is not None}
        return values | ({"settings": dict(self.settings)} if self.settings else {})


NO_OVERRIDES = TrainOverrides()
