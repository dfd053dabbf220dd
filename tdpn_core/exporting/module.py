"""The exported module: normalisation, the network, and softmax or sigmoid."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tdpn_core.config.schema import RunConfig
from tdpn_core.evaluation.inference import probabilities
from tdpn_core.model.base import Network
from tdpn_core.sampling.transforms import normalise


class FramesToProbabilities(nn.Module):
    """Maps uint8 frames (N, F, H, W, C) to the probabilities (N, classes) of each head, in the order of `heads`."""

    def __init__(self, network: Network, config: RunConfig) -> None:
        super().__init__()
        self.network = network.eval()
        self.network.auxiliary_head = None  # for training only
        self.sampling = config.sampling
        self.multilabel = config.data.multilabel
        self.heads = tuple(config.model.num_classes)

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Return the probabilities of each head."""
        logits = self.network(normalise(frames.permute(0, 4, 1, 2, 3), self.sampling))
        by_head = logits if isinstance(logits, dict) else {self.heads[0]: logits}
        return tuple(probabilities(by_head[head], multilabel=self.multilabel) for head in self.heads)


def frames_of(view: Tensor) -> Tensor:
    """Return a view (C, F, H, W) in the layout of the exported input, (F, H, W, C)."""
    return view.permute(1, 2, 3, 0).contiguous()


def trace(module: FramesToProbabilities, example: Tensor) -> torch.export.ExportedProgram:
    """Return a module's graph for any number of clips with the frames and size of `example` (N, F, H, W, C), N > 1."""
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        return torch.export.export(module, (example,), dynamic_shapes=({0: batch},))
