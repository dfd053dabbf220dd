"""Build networks from a name and options, or from a configuration; `config.families` finds the family."""

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
    """Create a network with random weights, in training mode.

    `name` is one of `tdpn models`: tdpn, tpn, tsm+tdpn, slowfast, ..., or `module:ATTRIBUTE` of your own family;
    `arch` is its depth (default: the family's own); an integer `num_classes` is for one head named `action`; `options`
    are other fields of the family's settings class.

    Raises:
        UsageError: unknown name; ConfigError: unknown option or value; the message names it.
    """
    heads = {"action": num_classes} if isinstance(num_classes, int) else dict(num_classes)
    given = {"arch": arch, "num_frames": num_frames}
    chosen = {field: value for field, value in given.items() if value is not None}
    return build_model(model_config(name, num_classes=heads, **chosen, **options))


def build_model(config: ModelConfig) -> Network:
    """Build the network of `config` with random weights, in training mode.

    Raises:
        ConfigError: numbers that do not divide each other.
        PluginError: another package's family does not build a `Network`.
    """
    network = find_family(config.name).build(config)
    if not isinstance(network, Network):
        what = f"builds a {type(network).__name__}, not a tdpn_core.model.base.Network"
        raise PluginError(what, where=f"model {config.name!r}", hint="derive the network from that class")
    return network
