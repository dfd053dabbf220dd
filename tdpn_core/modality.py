"""Modality of frames: RGB or optical flow."""

from __future__ import annotations

from typing import Literal

Modality = Literal["rgb", "flow"]
"""RGB pictures, or optical flow: two grey pictures per frame, horizontal and vertical."""
