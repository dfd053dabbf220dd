"""Settings common to all networks. A family adds its own in a subclass, in the file of its network."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationError

from tdpn_core.errors import ConfigError
from tdpn_core.modality import Modality
from tdpn_core.validation import Count, Settings, settings_class


@settings_class
class ModelConfig(Settings):
    """Complete settings of a network: equal configurations build networks with equal parameters and formulas.

    A family's subclass sets the default of `name` and adds its own fields; a value of another type, or an unknown
    field, is a ConfigError with its name. With several bases, the first one determines every field that it has,
    including inherited ones.
    """

    section: ClassVar[str] = "model"

    name: str
    """Family of networks."""

    arch: str = "r50"
    """Depth of the backbone."""

    num_classes: Annotated[dict[str, Count], Field(min_length=1)] = dataclasses.field(
        default_factory=lambda: {"action": 400}
    )
    """Number of classes by head: one head named `action`, or `verb` and `noun`."""

    num_frames: Count = 8
    """Sampled frames per clip (T)."""

    input_size: Annotated[int, Field(ge=32)] = 224
    """Side of the training input in pixels. Other sizes, and rectangles, also run."""

    width: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Factor of all channel counts, rounded to multiples of 32 (8 for few channels); below 1 for small data."""

    modality: Modality = "rgb"
    """Input: `rgb`, or `flow` (optical flow, two channels u, v per frame)."""

    pooling: Literal["mean", "change", "attentive"] = "mean"
    """What a classifier sees of the last map: its average over time and space; or, for frozen features, `change`: also
    the mean absolute difference of neighbouring time steps, each averaged over space; `attentive`: a learned query
    attends over the time steps and these differences."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Dropout before every linear classifier."""

    def __post_init__(self) -> None:
        """Check combinations of fields; subclasses with more checks call this, too."""
        own = next(field.default for field in dataclasses.fields(self) if field.name == "name")
        if own is not dataclasses.MISSING and self.name != own:
            raise ConfigError(f"these are settings of {own}, not of {self.name}", where="model.name")

    @property
    def channels(self) -> int:
        """Channels per frame: 3 (RGB), or 2 (u, v of optical flow)."""
        return 2 if self.modality == "flow" else 3

    @property
    def stack(self) -> int:
        """Frames stacked as one input of the first convolution: more than 1 in two-stream networks on flow."""
        return 1

    @property
    def frames_per_step(self) -> int:
        """Source frames per sampled frame, including itself at the centre; 1 if no others are used."""
        return self.stack

    @property
    def flow_deviation(self) -> float:
        """Standard deviation that flow bytes in [0, 1] are divided by: TSN's, the mean of ImageNet's."""
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
