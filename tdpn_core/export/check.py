"""An exported file beside the network, clip by clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tdpn_core.config import RunConfig
from tdpn_core.evaluate.scores import view_probabilities
from tdpn_core.export.clips import RealClip
from tdpn_core.model.network import Network
from tdpn_core.predict.exported import Probabilities, Runner

_AT_ONCE = 2


@dataclass(frozen=True)
class Check:
    """How an exported file and the network agree."""

    clips: int
    difference: float
    """The largest between two probabilities of a class."""

    agreement: dict[str, float]
    """For each head the share of the clips of which both name the same class first."""

    accuracy: dict[str, tuple[float, float]]
    """For each head the top-1 accuracy of the network and of the file, over the clips whose label is known."""


def reference(network: Network, config: RunConfig, clips: Sequence[RealClip]) -> Probabilities:
    """What the network says, one clip at a time."""
    rows = [view_probabilities(network, clip.frames.permute(3, 0, 1, 2)[None], config.sampling) for clip in clips]
    return {head: torch.cat([row[head] for row in rows]).numpy() for head in rows[0]}


def compare(run: Runner, clips: Sequence[RealClip], expected: Probabilities) -> Check:
    """Run an exported file over clips: the first on its own, the others several at a time."""
    lots = [clips[:1], *(clips[start : start + _AT_ONCE] for start in range(1, len(clips), _AT_ONCE))]
    found = [run(torch.stack([clip.frames for clip in lot]).numpy()) for lot in lots]
    got = {head: np.concatenate([part[head] for part in found]) for head in expected}
    difference = max(float(np.abs(got[head] - expected[head]).max()) for head in expected)
    agreement = {head: float((got[head].argmax(1) == expected[head].argmax(1)).mean()) for head in expected}
    return Check(len(clips), difference, agreement, _accuracy(clips, expected, got))


def _accuracy(clips: Sequence[RealClip], own: Probabilities, got: Probabilities) -> dict[str, tuple[float, float]]:
    result = {}
    for head in own:
        labels = np.array([clip.labels.get(head, -1) for clip in clips])
        known = labels >= 0
        if known.any():
            hits = [float((scores[head].argmax(1) == labels)[known].mean()) for scores in (own, got)]
            result[head] = (hits[0], hits[1])
    return result
