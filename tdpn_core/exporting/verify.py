"""Compare an exported file with its network, clip by clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from tdpn_core.config.schema import RunConfig
from tdpn_core.evaluation.inference import view_probabilities
from tdpn_core.exporting.clips import RealClip, RealClips
from tdpn_core.model.base import Network
from tdpn_core.prediction.exported import Probabilities, Runner

_AT_ONCE = 2


@dataclass(frozen=True)
class Check:
    """Agreement of an exported file with its network."""

    clips: int
    difference: float
    """Largest difference of a probability."""

    agreement: dict[str, float]
    """Share of clips with the same top class, by head."""

    accuracy: dict[str, tuple[float, float]]
    """Top-1 accuracy of the network and of the file, by head, on clips with known classes: the share of clips whose
    most probable class is theirs, or one of theirs."""


def reference(network: Network, config: RunConfig, clips: RealClips) -> Probabilities:
    """Return the network's probabilities, computed one clip at a time."""
    rows = [view_probabilities(network, clip.frames.permute(3, 0, 1, 2)[None], config) for clip in clips]
    return {head: torch.cat([row[head] for row in rows]).numpy() for head in rows[0]}


def compare(run: Runner, clips: RealClips, expected: Probabilities) -> Check:
    """Run an exported file on clips: the first alone, the others in batches."""
    found: list[Probabilities] = []
    known: list[dict[str, frozenset[int]]] = []
    for lot in _lots(iter(clips)):
        found.append(run(torch.stack([clip.frames for clip in lot]).numpy()))
        known += [clip.classes for clip in lot]
    got = {head: np.concatenate([part[head] for part in found]) for head in expected}
    difference = max(float(np.abs(got[head] - expected[head]).max()) for head in expected)
    agreement = {head: float((got[head].argmax(1) == expected[head].argmax(1)).mean()) for head in expected}
    return Check(len(clips), difference, agreement, _accuracy(known, expected, got))


def _lots(clips: Iterator[RealClip]) -> Iterator[list[RealClip]]:
    lot = list(islice(clips, 1))
    while lot:
        yield lot
        lot = list(islice(clips, _AT_ONCE))


def _accuracy(
    known: list[dict[str, frozenset[int]]], own: Probabilities, got: Probabilities
) -> dict[str, tuple[float, float]]:
    result = {}
    for head in own:
        rows = [row for row, classes in enumerate(known) if head in classes]
        if rows:
            first = [scores[head].argmax(1) for scores in (own, got)]
            hits = [float(np.mean([int(top[row]) in known[row][head] for row in rows])) for top in first]
            result[head] = (hits[0], hits[1])
    return result
