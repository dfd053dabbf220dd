"""The settings that every network has. A family adds its own in a subclass, in the file of its network."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import Field, ValidationError

from tdpn_core.errors import ConfigError
from tdpn_core.modality import Modality
from tdpn_core.validation import Count, Settings, settings_class


@settings_class
class ModelConfig(Settings):
    """A network, completely: two equal configurations build two networks of equal parameters and formulas.

    A family's subclass gives `name` a default and adds its own fields; a value of another type, or for a field that the
    family does not have, is a ConfigError that names it. Of several bases the first decides on every field that it has,
    inherited ones, too.
    """

    section: ClassVar[str] = "model"

    name: str
    """Which family of networks."""

    arch: str = "r50"
    """Depth of the backbone."""

    num_classes: Annotated[dict[str, Count], Field(min_length=1)] = dataclasses.field(
        default_factory=lambda: {"action": 400}
    )
    """Classes of each head: one head named `action`, or `verb` and `noun`."""

    num_frames: Count = 8
    """T, the sampled frames of a clip."""

    input_size: Annotated[int, Field(ge=32)] = 224
    """Side in pixels of the square clip that the network is trained on. Other sizes, and rectangles, can be run."""

    width: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Scales every channel count, kept multiples of 32 (8 where channels are few); below 1 for small data."""

    modality: Modality = "rgb"
    """`flow`: optical flow, two channels (u, v) a frame."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Before every linear classifier."""

    def __post_init__(self) -> None:
        """What the fields must be together; a subclass that has more to say calls this one, too."""
        own = next(field.default for field in dataclasses.fields(self) if field.name == "name")
        if own is not dataclasses.MISSING and self.name != own:
            raise ConfigError(f"these are settings of {own}, not of {self.name}", where="model.name")

    @property
    def channels(self) -> int:
        """Channels of a frame: 3 (RGB), or 2 (the flow's u, v)."""
        return 2 if self.modality == "flow" else 3

    @property
    def stack(self) -> int:
        """Frames that the first convolution takes as one: more than 1 in two-stream networks on flow."""
        return 1

    @property
    def frames_per_step(self) -> int:
        """Source frames that each sampled frame brings along, itself included in their middle; 1 where none is read."""
        return self.stack

    @property
    def flow_deviation(self) -> float:
        """Standard deviation that a byte of flow in [0, 1] is divided by: TSN's, the mean of ImageNet's."""
        return 0.226

    @classmethod
    def _refusal(cls, error: ValidationError) -> ConfigError:
        first = error.errors()[0]
        if first["type"] != "unexpected_keyword_argument":
            return super()._refusal(error)
        family = next(field.default for field in dataclasses.fields(cls) if field.name == "name")
        own = ", ".join(_own_fields(cls)) or "only those that every model has"
        return ConfigError(f"{family} has no setting {first['loc'][-1]!r}", where="model", hint=f"its settings: {own}")


def _own_fields(kind: type) -> Iterator[str]:
    common = {field.name for field in dataclasses.fields(ModelConfig)}
    return (field.name for field in dataclasses.fields(kind) if field.name not in common)
