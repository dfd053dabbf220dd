"""Metrics of multi-label scores against literal re-statements."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays

from tdpn_core.errors import TdpnError, UsageError
from tdpn_core.evaluation.multilabel import (
    average_precisions,
    best_thresholds,
    first_hits,
    fit_thresholds,
    label_loss,
    macro_f1,
    mean_average_precision,
    mean_precision,
    measure_labels,
)

NAMES = ["walk", "wave", "sit"]


def rows_of(rng: np.random.Generator, clips: int, classes: int, share: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    return rng.random((clips, classes)), (rng.random((clips, classes)) < share).astype(np.int64)


def charades(scores: np.ndarray, labels: np.ndarray) -> float:
    """The protocol as its program computes it: clips without labels last, precision at each hit, mean over classes."""
    fixed = scores.copy()
    fixed[labels.sum(axis=1) == 0] = -np.inf
    found = []
    for label in range(labels.shape[1]):
        order = np.argsort(-fixed[:, label])
        hits = labels[order, label] == 1
        if not hits.sum():
            continue
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        found.append(sum(precision[place] for place in range(len(hits)) if hits[place]) / hits.sum())
    return float(np.mean(found))


def measured(scores, labels, thresholds=(0.5, 0.5, 0.5)):
    ids = [f"clip {number}" for number in range(len(scores))]
    return measure_labels(scores, labels, ids=ids, classes=NAMES, thresholds=thresholds)


def test_average_precision_by_hand():
    scores = np.array([[0.9], [0.8], [0.7], [0.6]])
    labels = np.array([[1], [0], [1], [0]])
    assert average_precisions(scores, labels).tolist() == pytest.approx([(1 / 1 + 2 / 3) / 2])


def test_map_is_over_the_classes_that_clips_have():
    scores, labels = rows_of(np.random.default_rng(0), 30, 3)
    labels[:, 1] = 0
    found = measured(scores, labels)
    kept = average_precisions(scores, labels)[[0, 2]]
    assert found.map == pytest.approx(kept.mean())
    assert [row.average_precision for row in found.classes] == [pytest.approx(kept[0]), None, pytest.approx(kept[1])]
    assert found.classes[1].recall is None
    assert found.map_micro == pytest.approx(average_precisions(scores.reshape(-1, 1), labels.reshape(-1, 1))[0])


@pytest.mark.parametrize("seed", range(5))
def test_charades_map_is_that_of_its_program(seed):
    scores, labels = rows_of(np.random.default_rng(seed), 40, 3, share=0.2)
    assert (labels.sum(axis=1) == 0).any()
    assert measured(scores, labels).map_charades == pytest.approx(charades(scores, labels))


def test_charades_map_is_map_where_every_clip_has_a_class():
    scores, labels = rows_of(np.random.default_rng(0), 20, 3)
    labels[:, 0] = 1
    found = measured(scores, labels)
    assert found.map_charades == found.map


@given(some.integers(0, 10_000))
@settings(max_examples=25)
def test_fast_map_is_scikit_learns_where_no_scores_are_equal(seed):
    scores, labels = rows_of(np.random.default_rng(seed), 12, 3)
    if labels.any():
        assert mean_precision(scores, labels) == pytest.approx(mean_average_precision(scores, labels))


def test_constant_scores_have_the_share_of_clips_as_average_precision():
    labels = np.array([[1, 0], [0, 0], [0, 1], [0, 1]])
    assert average_precisions(np.full((4, 2), 0.3), labels).tolist() == pytest.approx([0.25, 0.5])


@given(
    arrays(np.float64, (7, 2), elements=some.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0])),
    arrays(np.int64, (7, 2), elements=some.integers(0, 1)),
)
@settings(max_examples=60)
def test_best_thresholds_have_the_highest_f1_of_all_thresholds(scores, labels):
    found = best_thresholds(scores, labels)
    for label in range(2):
        if not labels[:, label].any():
            assert found[label] == 0.5
            continue
        one, own = scores[:, [label]], labels[:, [label]]
        every = [macro_f1(one, own, [threshold]) for threshold in np.linspace(0, 1.01, 102)]
        assert macro_f1(one, own, [found[label]]) == pytest.approx(max(every))


def test_threshold_is_between_the_last_accepted_and_the_first_rejected_probability():
    scores, labels = np.array([[0.9], [0.6], [0.2]]), np.array([[1], [1], [0]])
    assert best_thresholds(scores, labels) == [pytest.approx(0.4)]
    fitted = fit_thresholds(scores, labels, before=[0.8])
    assert (fitted.f1_before, fitted.f1_after) == (pytest.approx(2 / 3), 1.0)


def test_precision_recall_and_f1_at_the_thresholds():
    scores = np.array([[0.9, 0.1, 0.6], [0.4, 0.1, 0.6], [0.6, 0.1, 0.1]])
    labels = np.array([[1, 0, 1], [1, 1, 0], [0, 0, 0]])
    walk, wave, sit = measured(scores, labels).classes
    assert (walk.precision, walk.recall, walk.f1) == (0.5, 0.5, 0.5)
    assert (wave.precision, wave.recall, wave.f1) == (None, 0.0, 0.0)
    assert (sit.precision, sit.recall) == (0.5, 1.0)
    lower = measured(scores, labels, thresholds=(0.3, 0.5, 0.5)).classes[0]
    assert (lower.precision, lower.recall) == (pytest.approx(2 / 3), 1.0)


def test_interval_of_map_contains_it_and_narrows_with_clips():
    few, many = (measured(*rows_of(np.random.default_rng(1), clips, 3)) for clips in (30, 600))
    for found in (few, many):
        low, high = found.map_interval
        assert low <= found.map <= high
    assert np.ptp(many.map_interval) < np.ptp(few.map_interval)


def test_first_class_counts_for_one_label_and_for_several():
    scores = np.array([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]])
    assert first_hits(scores, np.array([1, 0, 1])).tolist() == [True, True, False]
    assert first_hits(scores, np.array([[0, 1], [0, 1], [1, 1]])).tolist() == [True, False, True]


def test_loss_of_validation_is_the_binary_cross_entropy_by_clip():
    scores, labels = np.array([[0.9, 0.2], [0.5, 0.5]]), np.array([[1, 0], [0, 0]])
    expected = -(np.log(0.9) + np.log(0.8) + 2 * np.log(0.5)) / 2
    assert label_loss(scores, labels) == pytest.approx(expected)


def test_scores_that_cannot_be_measured_are_refused():
    scores, labels = rows_of(np.random.default_rng(0), 4, 3)
    with pytest.raises(UsageError, match="nothing to measure"):
        measured(scores, np.zeros_like(labels))
    scores[2, 1] = np.nan
    with pytest.raises(TdpnError, match="not finite") as error:
        measured(scores, labels)
    assert error.value.where == "clip 2"
