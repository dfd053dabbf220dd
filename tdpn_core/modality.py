"""What frames are of: colours or motion."""

from __future__ import annotations

from typing import Literal

Modality = Literal["rgb", "flow"]
"""Colour pictures, or optical flow: two grey pictures a frame, horizontal and vertical."""
