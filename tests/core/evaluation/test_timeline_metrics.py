"""Metrics of timelines, compared with a literal re-statement of ActivityNet's and with hand-computed cases."""

from __future__ import annotations

import random

import pytest

from tdpn_core import defaults
from tdpn_core.datasets.segments import Segment
from tdpn_core.evaluation.timeline_metrics import (
    ScoredSegment,
    accuracy_in_time,
    average_precision,
    edit_score,
    score_timeline,
    segment_f1,
)


def seg(start: float, stop: float, label: str = "a", video: str = "v") -> Segment:
    return Segment(video, start, stop, label)


def answer(start: float, stop: float, label: str = "a", video: str = "v", score: float = 1.0) -> ScoredSegment:
    return ScoredSegment(video, start, stop, label, score=score)


def activitynet_precision(truth: list[Segment], found: list[ScoredSegment], threshold: float) -> float:
    """ActivityNet's average precision of one class, step by step as its evaluation describes it."""
    if not found:
        return 0.0
    locked: list[bool] = [False] * len(truth)
    precision, recall = [0.0], [0.0]
    right = wrong = 0
    for prediction in sorted(found, key=lambda one: one.score, reverse=True):
        candidates = []
        for place, true in enumerate(truth):
            if true.video == prediction.video:
                shared = max(0.0, min(true.stop, prediction.stop) - max(true.start, prediction.start))
                union = (true.stop - true.start) + (prediction.stop - prediction.start) - shared
                candidates.append((shared / union, place))
        hit = False
        for overlap, place in sorted(candidates, reverse=True):
            if overlap < threshold:
                break
            if not locked[place]:
                locked[place] = hit = True
                break
        right, wrong = right + hit, wrong + (not hit)
        precision.append(right / (right + wrong))
        recall.append(right / len(truth))
    precision.append(0.0)
    recall.append(1.0)
    for place in range(len(precision) - 2, -1, -1):
        precision[place] = max(precision[place], precision[place + 1])
    area = 0.0
    for place in range(1, len(recall)):
        if recall[place] != recall[place - 1]:
            area += (recall[place] - recall[place - 1]) * precision[place]
    return area


def random_segments(seed: int) -> tuple[list[Segment], list[ScoredSegment]]:
    source = random.Random(seed)
    truth, found = [], []
    for number in range(6):
        for _ in range(source.randint(0, 9)):
            start, label = source.uniform(0, 50), source.choice("abc")
            stop = start + source.uniform(1, 15)
            truth.append(seg(start, stop, label, f"v{number}"))
            for _ in range(source.randint(0, 3)):
                moved = start + source.gauss(0, 2)
                length = (stop - start) * source.uniform(0.5, 1.5)
                named = source.choice([label, label, "d"])
                found.append(answer(moved, moved + length, named, f"v{number}", source.random()))
        found.append(answer(3, 9, "a", f"elsewhere{number}", source.random()))
    return truth, found


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_random_segments_equals_activitynet(seed: int) -> None:
    truth, found = random_segments(seed)
    for threshold in defaults.TIMELINE_OVERLAPS:
        got = average_precision(truth, found, threshold)
        assert set(got) == {one.label for one in truth}
        for label, value in got.items():
            of_class = [one for one in truth if one.label == label]
            answers = [one for one in found if one.label == label]
            assert value == pytest.approx(activitynet_precision(of_class, answers, threshold), abs=1e-12)


def test_average_precision_second_answer_for_one_truth_is_wrong() -> None:
    truth = [seg(0, 10), seg(20, 30)]
    found = [answer(0, 10, score=0.9), answer(0, 9, score=0.8), answer(20, 30, score=0.7)]
    assert average_precision(truth, found, 0.5) == {"a": pytest.approx(0.5 * 1 + 0.5 * 2 / 3)}


def test_average_precision_equal_scores_keep_the_given_order() -> None:
    wrong, right = answer(50, 60, score=0.5), answer(0, 10, score=0.5)
    assert average_precision([seg(0, 10)], [right, wrong], 0.5)["a"] == 1.0
    assert average_precision([seg(0, 10)], [wrong, right], 0.5)["a"] == 0.5


def test_average_precision_overlap_at_the_threshold_counts() -> None:
    assert average_precision([seg(0, 10)], [answer(0, 5)], 0.5) == {"a": 1.0}


def test_average_precision_class_on_one_side_only() -> None:
    assert average_precision([seg(0, 1, "a")], [answer(0, 1, "b")], 0.5) == {"a": 0.0}
    assert average_precision([], [answer(0, 1, "b")], 0.5) == {}


def test_segment_f1_hand_computed() -> None:
    truth = [seg(0, 10, "a"), seg(10, 20, "b"), seg(20, 30, "a")]
    found = [seg(0, 6, "a"), seg(6, 20, "b"), seg(20, 24, "a"), seg(26, 30, "c")]
    # IoU 0.6, 10 / 14, 0.4; the last is wrong
    assert segment_f1(truth, found, 0.25) == pytest.approx(2 * 3 / (2 * 3 + 1 + 0))
    assert segment_f1(truth, found, 0.50) == pytest.approx(2 * 2 / (2 * 2 + 2 + 1))


def test_segment_f1_second_answer_for_one_truth_is_wrong() -> None:
    assert segment_f1([seg(0, 10)], [seg(0, 4), seg(5, 10)], 0.25) == pytest.approx(2 / 3)


def test_segment_f1_counts_are_summed_over_videos() -> None:
    truth = [seg(0, 1, "a", "x"), seg(0, 1, "a", "y"), seg(2, 3, "b", "y")]
    assert segment_f1(truth, [seg(0, 1, "a", "x"), seg(0, 1, "a", "z")], 0.5) == pytest.approx(2 / 5)


def test_segment_f1_touching_segments_of_a_class_are_one() -> None:
    assert segment_f1([seg(0, 5), seg(5, 10)], [seg(0, 10)], 0.5) == 1.0


def test_edit_score_hand_computed() -> None:
    truth = [seg(0, 1, "a"), seg(1, 2, "b"), seg(2, 3, "c")]
    found = [seg(0, 1, "a"), seg(1, 2, "c"), seg(2, 3, "b"), seg(3, 4, "c")]
    assert edit_score(truth, found) == pytest.approx(1 - 1 / 4)
    assert edit_score(truth, []) == 0.0


def test_edit_score_is_the_mean_over_videos() -> None:
    truth = [seg(0, 1, "a", "x"), seg(0, 1, "a", "y")]
    assert edit_score(truth, [seg(5, 6, "a", "x")], ["x", "y", "empty"]) == pytest.approx(2 / 3)


def test_accuracy_counts_gaps_and_labelled_moments_apart() -> None:
    truth = [seg(0, 4, "a")]
    found = [answer(2, 6, "a"), answer(3, 4, "b", score=2.0)]
    # right: 2-3 as a, 6-10 as a gap
    assert accuracy_in_time(truth, found, {"v": 10.0}, rate=10) == (pytest.approx(0.5), pytest.approx(0.25))


def test_accuracy_overlapping_truth_accepts_either_class() -> None:
    truth = [seg(0, 4, "a"), seg(2, 6, "b")]
    assert accuracy_in_time(truth, [answer(0, 6, "b")], {}, rate=10)[0] == pytest.approx(4 / 6)


def test_score_timeline_background_is_a_gap() -> None:
    truth = [seg(0, 4, "a"), seg(4, 10, "background")]
    scores = score_timeline(truth, [answer(0, 4, "a"), answer(4, 10, "background")])
    assert set(scores.mean_average_precision) >= {"0.10", "0.50", "0.95"}
    assert (scores.average_map, scores.accuracy, scores.edit, scores.f1["50"]) == (1.0, 1.0, 1.0, 1.0)
    assert set(scores.average_precision["0.50"]) == {"a"}


def test_score_timeline_no_prediction() -> None:
    scores = score_timeline([seg(0, 4, "a")], [], {"v": 8.0})
    assert (scores.average_map, scores.f1["10"], scores.edit) == (0.0, 0.0, 0.0)
    assert (scores.accuracy, scores.labelled_accuracy) == (0.5, 0.0)


def test_score_timeline_no_truth() -> None:
    scores = score_timeline([], [answer(0, 4, "a")], {"v": 8.0})
    assert (scores.average_map, scores.f1["10"], scores.edit) == (0.0, 0.0, 0.0)
    assert (scores.accuracy, scores.labelled_accuracy) == (0.5, None)
