"""Which families of networks there are, and what each of them lets one set.

A family has the fields of `ModelConfig` that every network has, and those that stand in its `settings`, each with
the value that its paper uses. Any other field is none of its business: it keeps its `NEUTRAL` value.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args

ModelName = Literal[
    "tdpn",
    "tsn",
    "tsm",
    "slowonly",
    "c2d",
    "i3d",
    "slowfast",
    "tpn",
    "tdn",
    "r2plus1d",
    "tsn+tdpn",
    "tsm+tdpn",
    "tsn+tpn",
    "tsm+tpn",
]
Arch = Literal["r18", "r34", "r50", "r101", "inception"]
Modality = Literal["rgb", "flow"]

MODELS: tuple[ModelName, ...] = get_args(ModelName)
RESIDUAL: tuple[Arch, ...] = ("r18", "r34", "r50", "r101")

OWN: Any = None
"""In the place of a value: the family's own."""

NEUTRAL: dict[str, Any] = {
    "temporal_kernels": (1, 1, 1, 1),
    "temporal_blocks": None,
    "temporal_strides": (1, 1, 1),
    "shift": "none",
    "attention": False,
    "position_resize": "clamp",
    "levels": ("res5",),
    "temporal": ("none", "none", "none", "none"),
    "window": 1,
    "local_fusion": "add",
    "flow": "none",
    "spatial_modulation": "conv",
    "temporal_rates": None,
    "auxiliary_head": False,
    "alpha": 1,
    "lateral_kernel": 1,
    "lateral_norm": False,
    "slow_frames": "stride",
}
"""The fields that not every family has, each with a value that does nothing."""

_SLOW = {"temporal_kernels": (1, 1, 3, 3)}
_SHIFT = {"shift": "residual"}
_ATTENTION = {"attention": True, "position_resize": "clamp"}
_PYRAMID = {
    "levels": ("res2", "res3", "res4", "res5"),
    "flow": "cascade",
    "spatial_modulation": "conv",
    "temporal_rates": None,
    "auxiliary_head": True,
}
_TPN = {**_PYRAMID, "levels": ("res4", "res5")}
_DIFFERENCES = {"temporal": ("global", "global", "local", "local"), "window": 5, "local_fusion": "add"}
_TDPN = {**_ATTENTION, **_PYRAMID, **_DIFFERENCES}
_PLUGGED = {**_TDPN, "attention": False}  # on a backbone whose published weights have no attention


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """What is particular about one family."""

    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    """The fields of `NEUTRAL` that it has, with its own values."""

    archs: tuple[Arch, ...] = RESIDUAL
    """Its depths, its own first where that is not r50."""

    num_frames: int = 8
    """Sampled frames of a clip, as it is usually trained."""

    sampling: Literal["segments"] | None = None
    """Segments where its paper samples no other way; None: whatever suits the data."""

    stacked_flow: bool = False
    """With optical flow it sees a stack of flows at each sampled frame (two-stream networks), not one."""

    @property
    def arch(self) -> Arch:
        """Its depth, unless one is chosen."""
        return "r50" if self.archs is RESIDUAL else self.archs[0]


FAMILIES: dict[ModelName, Family] = {
    "tdpn": Family(settings={**_SLOW, **_TDPN}),
    "tsn": Family(sampling="segments", stacked_flow=True),
    "tsm": Family(settings=_SHIFT, stacked_flow=True),
    "slowonly": Family(settings={**_SLOW, "temporal_blocks": None, "attention": False, "position_resize": "clamp"}),
    "c2d": Family(settings={"temporal_strides": (1, 1, 2)}),
    "i3d": Family(settings={"temporal_strides": (2, 2, 2)}, archs=("inception", *RESIDUAL), num_frames=64),
    "slowfast": Family(
        settings={
            "temporal_blocks": None,
            "alpha": 4,
            "lateral_kernel": 7,
            "lateral_norm": True,
            "slow_frames": "stride",
        },
        num_frames=32,
    ),
    "tpn": Family(settings={**_SLOW, **_TPN}),
    "tdn": Family(sampling="segments"),
    "r2plus1d": Family(num_frames=16),
    "tsn+tdpn": Family(settings=_PLUGGED, stacked_flow=True),
    "tsm+tdpn": Family(settings={**_SHIFT, **_PLUGGED}, stacked_flow=True),
    "tsn+tpn": Family(settings=_TPN, stacked_flow=True),
    "tsm+tpn": Family(settings={**_SHIFT, **_TPN, "shift": "inplace"}, stacked_flow=True),
}


def filled(name: ModelName, given: dict[str, Any]) -> dict[str, Any]:
    """`given` (of `arch`, `num_frames` and the fields of `NEUTRAL`) with `OWN` replaced by what it stands for."""
    family = FAMILIES[name]
    defaults = {"arch": family.arch, "num_frames": family.num_frames, **NEUTRAL, **family.settings}
    return {field: defaults[field] if value is OWN else value for field, value in given.items()}


def foreign(name: ModelName, values: dict[str, Any]) -> list[str]:
    """The fields among `values` that ask for something that the family does not have."""
    settings = FAMILIES[name].settings
    return [field for field, neutral in NEUTRAL.items() if field not in settings and values[field] != neutral]
