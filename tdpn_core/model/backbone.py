"""What a network and a trainer ask of any backbone."""

from __future__ import annotations

import abc

from torch import Tensor, nn

from tdpn_core.config import Level


class Backbone(nn.Module, abc.ABC):
    """From frames to the maps of four levels."""

    channels: dict[Level, int]
    """Of res2..res5."""

    @abc.abstractmethod
    def forward(self, frames: Tensor) -> dict[Level, Tensor]:
        """The four levels of frames (N, C, T, H, W)."""

    @abc.abstractmethod
    def stages(self) -> dict[str, list[nn.Module]]:
        """The parts with weights of the stem and of res2..res5, in the order in which they run."""
