"""From a name and options, or from a whole configuration, to a network; `config.families` finds the family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tdpn_core.config.families import find_family, model_config
from tdpn_core.config.model import ModelConfig
from tdpn_core.errors import PluginError
from tdpn_core.model.base import Network


def create_model(
    name: str,
    *,
    arch: str | None = None,
    num_classes: int | Mapping[str, int] = 400,
    num_frames: int | None = None,
    **options: Any,
) -> Network:
    """A network with fresh weights, in training mode.

    `name` is one of `tdpn models`: tdpn, tpn, tsm+tdpn, slowfast, ..., or `module:ATTRIBUTE` of a family of your own;
    `arch` its depth, r18 to r101 (None: the family's own); a bare number of classes is that of one head named
    `action`; `options` are the other fields of the family's settings class.

    Raises:
        UsageError: an unknown name; a ConfigError: an unknown option or value; the message names it.
    """
    heads = {"action": num_classes} if isinstance(num_classes, int) else dict(num_classes)
    given = {"arch": arch, "num_frames": num_frames}
    chosen = {field: value for field, value in given.items() if value is not None}
    return build_model(model_config(name, num_classes=heads, **chosen, **options))


def build_model(config: ModelConfig) -> Network:
    """The network that `config` describes, with fresh weights, in training mode.

    Raises:
        ConfigError: numbers that do not divide one another.
        PluginError: another package's family builds something else than a `Network`.
    """
    network = find_family(config.name).build(config)
    if not isinstance(network, Network):
        what = f"builds a {type(network).__name__}, not a tdpn_core.model.base.Network"
        raise PluginError(what, where=f"model {config.name!r}", hint="derive the network from that class")
    return network
