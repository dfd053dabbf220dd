"""Interface between sampling and stored clips; implemented by the shards' reader and by test doubles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt


class ClipSource(Protocol):
    """Labelled clips, numbered from 0. Instances are copied into worker processes."""

    @property
    def ids(self) -> Sequence[str]:
        """Name of each clip."""

    @property
    def counts(self) -> npt.NDArray[np.integer]:
        """Frames of each clip, shape (clips,)."""

    @property
    def labels(self) -> dict[str, npt.NDArray[np.int64]]:
        """For each head, the label of each clip, shape (clips,); -1 for unlabelled. For multi-label data (clips, C)."""

    @property
    def classes(self) -> dict[str, list[str]]:
        """For each head, the names of its classes."""

    def __len__(self) -> int:
        """Number of clips."""

    def size(self, clip: int) -> tuple[int, int]:
        """Height and width of a clip's frames, in pixels."""

    def decode(self, clip: int, frames: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Return the given frames, (K, H, W, 3) RGB, at the clip's size."""
