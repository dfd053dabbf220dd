"""TDPN: action recognition from a folder of videos to a trained, evaluated network.

The folders follow the data: `datasets` → `video` → `shards` → `sampling` → `model` → `train` → `evaluate` → `predict`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tdpn_core.model.registry import create_model
    from tdpn_core.weights.load import load_model

__all__ = ["__version__", "create_model", "load_model"]


def __getattr__(name: str) -> object:
    """`create_model` and `load_model`, on first use: importing the package must not load torch."""
    if name == "create_model":
        from tdpn_core.model.registry import create_model

        return create_model
    if name == "load_model":
        from tdpn_core.weights.load import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
