"""Segments of each class by itself, with non-maximum suppression."""

from __future__ import annotations

import numpy as np
import pytest

from tdpn_core.prediction.proposals import Proposal, propose, suppress
from tdpn_core.prediction.timeline import Stretch


def _stretches(*rows: tuple[float, ...]) -> list[Stretch]:
    """A second for each row of class probabilities."""
    return [Stretch(float(at), at + 1.0, {"label": np.array(row)}) for at, row in enumerate(rows)]


def _found(stretches: list[Stretch], **options: float) -> list[Proposal]:
    return list(propose(stretches, **{"threshold": 0.0, "min_length": 0.0, "overlap": 0.5} | options))


def test_propose_classes_that_overlap_gives_a_segment_of_each() -> None:
    found = _found(_stretches((0.9, 0.0), (0.9, 0.8), (0.0, 0.8)))
    assert [(one.start, one.end, one.label) for one in found] == [(0.0, 2.0, 0), (1.0, 3.0, 1)]
    assert [one.score for one in found] == pytest.approx([0.9, 0.8])


def test_propose_peak_within_a_long_run_gives_both_unless_they_overlap_too_much() -> None:
    rows = [(0.3,), (0.3,), (0.9,), (0.3,), (0.3,), (0.05,)]
    nested = _found(_stretches(*rows))
    assert [(one.start, one.end, round(one.score, 2)) for one in nested] == [(0.0, 5.0, 0.42), (2.0, 3.0, 0.9)]
    (peak,) = _found(_stretches(*rows), overlap=0.1)
    assert (peak.start, peak.end) == (2.0, 3.0)


def test_propose_below_threshold_or_shorter_than_the_minimum_is_left_out() -> None:
    assert _found(_stretches((0.3,), (0.3,)), threshold=0.5) == []
    assert _found(_stretches((0.6,), (0.0,)), min_length=1.5) == []


def test_propose_gap_in_time_ends_a_run() -> None:
    first, second = _stretches((0.9,), (0.9,))
    later = Stretch(5.0, 6.0, second.scores)
    assert [(one.start, one.end) for one in _found([first, later])] == [(0.0, 1.0), (5.0, 6.0)]


def test_suppress_keeps_the_more_probable_of_two_and_both_at_the_limit() -> None:
    sure, unsure = Proposal(0.0, 4.0, "label", 0, 0.8), Proposal(2.0, 4.0, "label", 0, 0.7)  # IoU 0.5
    assert suppress([unsure, sure], 0.49) == [sure]
    assert suppress([unsure, sure], 0.5) == [sure, unsure]
