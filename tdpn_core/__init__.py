"""TDPN: action recognition from a folder of videos to a trained, evaluated network.

The folders follow the data: `datasets` → `video` → `shards` → `sampling` → `model` → `train` → `evaluate` → `predict`.
"""

from __future__ import annotations

__version__ = "0.1.0"
