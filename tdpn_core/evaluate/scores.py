"""Probabilities of every clip of a split: softmax of each view, averaged over the views (the field's test protocol)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tdpn_core.config import RunConfig, SamplingConfig, parse_views
from tdpn_core.model.network import Network
from tdpn_core.progress import SILENT, Progress
from tdpn_core.sampling.dataset import ViewClips
from tdpn_core.sampling.loader import view_batches
from tdpn_core.sampling.pixels import normalise
from tdpn_core.sampling.source import ClipSource

Probabilities = dict[str, npt.NDArray[np.float64]]
"""For each head, an array (clips, classes) whose rows sum to one."""

_VIEWS_AT_ONCE = 8
"""Views that go through the network together: bounds memory, whatever the protocol."""


def score_split(
    model: Network,
    clips: ClipSource,
    config: RunConfig,
    *,
    views: str,
    workers: int,
    progress: Progress = SILENT,
) -> Probabilities:
    """Mean probabilities over the views of each clip, in the order of `clips`; each is scored exactly once.

    The model is put into eval mode and back.

    Raises:
        ShardError, ClipError: a clip cannot be read; its name is in the message, and no score is given.
    """
    sampling = replace(config.sampling, views=views)
    dataset = ViewClips(clips, config.model, sampling)
    times, crops = parse_views(views)
    count = times * crops
    result: Probabilities = {}
    training = model.training
    model.eval()
    progress.begin(f"scoring, {views} views", len(dataset))
    try:
        for batch in view_batches(dataset, batch_size=max(1, _VIEWS_AT_ONCE // count), workers=workers):
            for head, values in view_probabilities(model, batch.clips.flatten(0, 1), sampling).items():
                mean = values.unflatten(0, (-1, count)).mean(dim=1).numpy()
                result.setdefault(head, np.full((len(dataset), mean.shape[1]), np.nan))[batch.indices.numpy()] = mean
            progress.advance(len(batch.indices))
    finally:
        progress.end()
        model.train(training)
    return result


@torch.inference_mode()
def view_probabilities(model: Network, views: Tensor, sampling: SamplingConfig) -> dict[str, Tensor]:
    """Softmax of each view by head: float64 (V, classes) on the CPU, from uint8 views (V, 3, T, H, W) of any clips.

    The model must be in eval mode.
    """
    device = next(model.parameters()).device
    parts: dict[str, list[Tensor]] = {}
    for chunk in views.split(_VIEWS_AT_ONCE):
        logits = model(normalise(chunk.to(device, non_blocking=True), sampling))
        by_head = logits if isinstance(logits, Mapping) else dict.fromkeys(model.config.num_classes, logits)
        for head, values in by_head.items():
            parts.setdefault(head, []).append(values.double().softmax(dim=1).cpu())
    return {head: torch.cat(values) for head, values in parts.items()}
