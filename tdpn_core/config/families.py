"""Families of networks: their description, and lookup by name.

A family is one `Family` in the file of its network. `FAMILIES` lists those of this package; another package adds one
with an entry point of the group `tdpn.models`, and `module:ATTRIBUTE` refers to one that is not installed. Families are
loaded on demand: importing this module loads neither torch nor pydantic.
"""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tdpn_core import defaults
from tdpn_core.errors import PluginError, UsageError
from tdpn_core.plugins import Registry

if TYPE_CHECKING:
    from torch import nn

    from tdpn_core.config.model import ModelConfig

Level = Literal["res2", "res3", "res4", "res5"]

LEVELS: tuple[Level, ...] = typing.get_args(Level)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """A published result of a family, from its paper or release. Not measured by us."""

    arch: str
    clip: str
    """Frames and interval as given in the source."""

    data: str
    top1: float
    """In per cent."""

    top5: float | None = None
    source: str
    note: str = ""

    def __str__(self) -> str:
        both = f"{self.top1:g}" + (f" / {self.top5:g}" if self.top5 is not None else "")
        extra = f", {self.note}" if self.note else ""
        return f"{self.data} {both} ({self.arch} {self.clip}{extra}; {self.source})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """Everything specific to a family of networks; its name, depths and frames are the defaults of `config`."""

    title: str
    """Description in one line."""

    config: type[ModelConfig]
    """Its settings class."""

    build: Callable[[Any], nn.Module]
    """Builds the network of an instance of `config`: a `tdpn_core.model.base.Network`, untrained, in training mode."""

    sampling: Literal["segments"] | None = None
    """Segments if its paper uses no other sampling; None: chosen by the data."""

    image_depths: tuple[str, ...] | None = None
    """Depths whose backbone the weights of an image network of that depth fit; None: all."""

    published: tuple[Published, ...] = ()
    """Empty if there are no published results."""

    @property
    def name(self) -> str:
        """Name for `--model`."""
        return str(self.default("name"))

    @property
    def arch(self) -> str:
        """Default depth."""
        return str(self.default("arch"))

    @property
    def archs(self) -> tuple[str, ...]:
        """Available depths."""
        return typing.get_args(typing.get_type_hints(self.config)["arch"]) or (self.arch,)

    def has(self, field: str) -> bool:
        """Return whether its settings class has that field."""
        return any(known.name == field for known in dataclasses.fields(self.config))

    def default(self, field: str) -> object:
        """Return the default of a setting."""
        return next(known.default for known in dataclasses.fields(self.config) if known.name == field)


FAMILIES: Registry[Family] = Registry(
    "model",
    "tdpn.models",
    {
        "tdpn": "tdpn_core.model.tdpn:TDPN_FAMILY",
        "tsn": "tdpn_core.model.baselines.resnets:TSN_FAMILY",
        "tsm": "tdpn_core.model.baselines.tsm:TSM_FAMILY",
        "slowonly": "tdpn_core.model.baselines.resnets:SLOWONLY_FAMILY",
        "c2d": "tdpn_core.model.baselines.resnets:C2D_FAMILY",
        "i3d": "tdpn_core.model.baselines.inception:I3D_FAMILY",
        "slowfast": "tdpn_core.model.baselines.slowfast:SLOWFAST_FAMILY",
        "tpn": "tdpn_core.model.tpn:TPN_FAMILY",
        "tdn": "tdpn_core.model.baselines.tdn:TDN_FAMILY",
        "r2plus1d": "tdpn_core.model.baselines.r2plus1d:R2PLUS1D_FAMILY",
        "r3d": "tdpn_core.model.baselines.r3d:R3D_FAMILY",
        "c3d": "tdpn_core.model.baselines.c3d:C3D_FAMILY",
        "swin": "tdpn_core.model.baselines.swin:SWIN_FAMILY",
        "mvit": "tdpn_core.model.baselines.mvit:MVIT_FAMILY",
        "videomae": "tdpn_core.model.baselines.videomae:VIDEOMAE_FAMILY",
        "tsn+tdpn": "tdpn_core.model.tdpn:TSN_TDPN_FAMILY",
        "tsm+tdpn": "tdpn_core.model.tdpn:TSM_TDPN_FAMILY",
        "tsn+tpn": "tdpn_core.model.tpn:TSN_TPN_FAMILY",
        "tsm+tpn": "tdpn_core.model.tpn:TSM_TPN_FAMILY",
    },
    lambda part: isinstance(part, Family),
)
"""Families of this package and of other installed ones, by name."""

_added: dict[str, Family] = {}  # those loaded from module:ATTRIBUTE in this process, by their own names


def find_family(name: str) -> Family:
    """Return the family of that name, or at `module:ATTRIBUTE`, which is then also known by its own name.

    Raises:
        UsageError: there is none (with the most similar name), or another family has its name.
        PluginError: the object cannot be loaded, or is not a family.
    """
    if name in _added:
        return _added[name]
    if name in FAMILIES:
        family = FAMILIES[name]
        if family.name != name:
            raise PluginError(f"the model {name!r} has the name {family.name!r}", hint="use the same name for both")
        return family
    if ":" not in name:
        raise FAMILIES.unknown(name, where="--model")
    family = _at(name)
    if family.name in FAMILIES or _added.get(family.name, family) != family:
        raise UsageError(f"{name} has the name {family.name!r} of another model", hint="choose another name")
    _added[family.name] = family
    return family


def model_config(name: str = defaults.MODEL, **settings: Any) -> ModelConfig:
    """Return the settings of a network of the family `name`, with the family's defaults.

    Raises:
        UsageError: there is no such family; ConfigError: it has no such field or value.
    """
    return find_family(name).config(**settings)


def known_models() -> tuple[str, ...]:
    """The names of all model families, those already named as `module:ATTRIBUTE` included."""
    return (*FAMILIES, *_added)


def _at(source: str) -> Family:
    if (here := str(Path.cwd())) not in sys.path:  # unlike `python -m`, the installed command does not search here
        sys.path.append(here)
    try:
        found = EntryPoint(source, source, FAMILIES.group).load()
    except Exception as error:  # importing the module can fail in any way
        hint = "--model MODULE:FAMILY needs an importable module and a Family in it"
        raise PluginError(f"cannot be loaded: {type(error).__name__}: {error}", where=source, hint=hint) from error
    if not isinstance(found, Family):
        raise PluginError(f"is not a model but {type(found).__name__}", where=source)
    return found
