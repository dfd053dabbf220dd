"""The families of networks: what one says of itself, and how it is found by its name.

A family is one `Family` in the file of its network. `FAMILIES` names those of this package; other packages add theirs
through entry points of the group `tdpn.models`, and `module:ATTRIBUTE` names one that is not installed. A family is
loaded when it is asked for: importing this module loads neither torch nor pydantic.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import sys
import typing
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tdpn_core.errors import ConfigError

if TYPE_CHECKING:
    from tdpn_core.config.model import ModelConfig
    from tdpn_core.model.base import Network

Level = Literal["res2", "res3", "res4", "res5"]
Modality = Literal["rgb", "flow"]

LEVELS: tuple[Level, ...] = typing.get_args(Level)

DEFAULT = "tdpn"
"""The family that is built unless another is chosen."""

GROUP = "tdpn.models"
"""The entry points through which other packages add families: a name, and `module:ATTRIBUTE` of a `Family`."""

FAMILIES: dict[str, str] = {
    "tdpn": "tdpn_core.model.tdpn:TDPN_FAMILY",
    "tsn": "tdpn_core.model.baselines.resnets:TSN_FAMILY",
    "tsm": "tdpn_core.model.baselines.tsm:TSM_FAMILY",
    "slowonly": "tdpn_core.model.baselines.resnets:SLOWONLY_FAMILY",
    "c2d": "tdpn_core.model.baselines.resnets:C2D_FAMILY",
    "i3d": "tdpn_core.model.baselines.inception:I3D_FAMILY",
    "slowfast": "tdpn_core.model.baselines.slowfast:SLOWFAST_FAMILY",
    "tpn": "tdpn_core.model.baselines.tpn:TPN_FAMILY",
    "tdn": "tdpn_core.model.baselines.tdn:TDN_FAMILY",
    "r2plus1d": "tdpn_core.model.baselines.r2plus1d:R2PLUS1D_FAMILY",
    "tsn+tdpn": "tdpn_core.model.tdpn:TSN_TDPN_FAMILY",
    "tsm+tdpn": "tdpn_core.model.tdpn:TSM_TDPN_FAMILY",
    "tsn+tpn": "tdpn_core.model.baselines.tpn:TSN_TPN_FAMILY",
    "tsm+tpn": "tdpn_core.model.baselines.tpn:TSM_TPN_FAMILY",
}
"""Where each family of this package is."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """One row of somebody's table: what a family's paper or release reports. Nothing here was measured by us."""

    arch: str
    clip: str
    """Frames and interval as the source writes them."""

    data: str
    top1: float
    """Per cent."""

    top5: float | None = None
    source: str
    note: str = ""

    def __str__(self) -> str:
        both = f"{self.top1:g}" + (f" / {self.top5:g}" if self.top5 is not None else "")
        extra = f", {self.note}" if self.note else ""
        return f"{self.data} {both} ({self.arch} {self.clip}{extra}; {self.source})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """Everything that is said of one family of networks; its name, depths and frames are the defaults of `config`."""

    title: str
    """What it is, in a line."""

    config: type[ModelConfig]
    """Its settings class."""

    build: Callable[[Any], Network]
    """The network of an instance of `config`, with fresh weights, in training mode."""

    sampling: Literal["segments"] | None = None
    """Segments where its paper samples no other way; None: whatever suits the data."""

    published: tuple[Published, ...] = ()
    """Empty where nobody reported the network."""

    @property
    def name(self) -> str:
        """As `--model` takes it."""
        return str(self.default("name"))

    @property
    def arch(self) -> str:
        """Its depth, unless one is chosen."""
        return str(self.default("arch"))

    @property
    def archs(self) -> tuple[str, ...]:
        """Its depths."""
        return typing.get_args(typing.get_type_hints(self.config)["arch"]) or (self.arch,)

    def has(self, field: str) -> bool:
        """Whether its settings class has that field."""
        return any(known.name == field for known in dataclasses.fields(self.config))

    def default(self, field: str) -> object:
        """The value of one of the settings, unless another is chosen."""
        return next(known.default for known in dataclasses.fields(self.config) if known.name == field)


_added: dict[str, Family] = {}  # those named as module:ATTRIBUTE in this process, by their own names


def known_models() -> tuple[str, ...]:
    """The names of all families: ours, those of installed packages, and those already named as `module:ATTRIBUTE`."""
    return tuple(dict.fromkeys([*FAMILIES, *_installed(), *_added]))


def find_family(name: str) -> Family:
    """The family of that name, or at `module:ATTRIBUTE`, which is known by its own name from then on.

    Raises:
        ConfigError: there is none, with the nearest name; or what is there is no family.
    """
    if name in _added:
        return _added[name]
    if name in FAMILIES or name in _installed():
        return _load(FAMILIES.get(name) or _installed()[name], name)
    if ":" not in name:
        near = difflib.get_close_matches(name, known_models(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(known_models())}"
        raise ConfigError(f"no model {name!r}", hint=f"{hint}; one of your own is --model my_module:MY_FAMILY")
    if (here := str(Path.cwd())) not in sys.path:  # the installed command, unlike `python -m`, does not look here
        sys.path.append(here)
    family = _load(name)
    if family.name in known_models() and _added.get(family.name) != family:
        raise ConfigError(f"{name} calls itself {family.name!r}, as another model does", hint="choose another name")
    _added[family.name] = family
    return family


def model_config(name: str = DEFAULT, **settings: Any) -> ModelConfig:
    """The settings of a network of the family `name`; what is left out takes the family's own value.

    Raises:
        ConfigError: no such family, or a field or value that it does not have.
    """
    return find_family(name).config(**settings)


@cache
def _installed() -> dict[str, str]:
    """Families of other packages: where each is."""
    return {point.name: point.value for point in entry_points(group=GROUP) if point.name not in FAMILIES}


@cache
def _load(source: str, name: str | None = None) -> Family:
    module, _, attribute = source.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        hint = "MODULE:FAMILY is a module that Python finds here, and a Family in it"
        raise ConfigError(f"the model {source} cannot be loaded: {error}", hint=hint) from error
    if not isinstance(found, Family):
        raise ConfigError(f"{source} is a {type(found).__name__}, not a Family")
    if name is not None and found.name != name:
        raise ConfigError(f"the model {name!r} at {source} calls itself {found.name!r}", hint="give both one name")
    return found
