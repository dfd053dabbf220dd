"""Metrics against scikit-learn, hand-computed cases and the rule for ties."""

import math

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tdpn_core.errors import DatasetError, TdpnError, UsageError
from tdpn_core.evaluation.metrics import measure, top_k


def measured(scores, labels, topk=(1, 5)):
    scores = np.asarray(scores, dtype=float)
    names = [f"class {label}" for label in range(scores.shape[1])]
    ids = [f"clip-{clip}" for clip in range(len(scores))]
    return measure(scores, np.asarray(labels, dtype=np.int64), ids=ids, classes=names, topk=topk)


def random_case(seed, clips=200, classes=7):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, clips)
    return rng.random((clips, classes)) + 0.5 * np.eye(classes)[labels], labels


@pytest.mark.parametrize("seed", range(5))
def test_metrics_of_scores_without_ties_are_those_of_scikit_learn(seed):
    scores, labels = random_case(seed)
    result = measured(scores, labels, topk=(1, 2, 5))
    predictions = scores.argmax(axis=1)
    for k, share in result.top.items():
        assert share == pytest.approx(sklearn.metrics.top_k_accuracy_score(labels, scores, k=k))
    assert result.mean_class_accuracy == pytest.approx(sklearn.metrics.balanced_accuracy_score(labels, predictions))
    assert (result.confusion == sklearn.metrics.confusion_matrix(labels, predictions)).all()
    precision, recall, _, clips = sklearn.metrics.precision_recall_fscore_support(labels, predictions)
    assert [row.clips for row in result.classes] == clips.tolist()
    assert [row.accuracy for row in result.classes] == pytest.approx(recall.tolist())
    assert [row.precision for row in result.classes] == pytest.approx(precision.tolist())


def test_a_small_case_by_hand():
    scores = [[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.1, 0.2, 0.7], [0.3, 0.6, 0.1]]
    result = measured(scores, [0, 1, 1, 1], topk=(1, 2))
    assert result.clips == 4
    assert result.top == {1: 0.5, 2: 1.0}
    assert result.confusion.tolist() == [[1, 0, 0], [1, 1, 1], [0, 0, 0]]
    assert result.mean_class_accuracy == pytest.approx((1 + 1 / 3) / 2), "over the classes that have clips"
    assert [(row.name, row.clips) for row in result.classes] == [("class 0", 1), ("class 1", 3), ("class 2", 0)]
    assert [row.accuracy for row in result.classes] == [1, pytest.approx(1 / 3), None]
    assert [row.precision for row in result.classes] == [0.5, 1, 0]


def test_a_class_never_predicted_has_no_precision():
    assert measured([[1, 0], [1, 0]], [0, 1]).classes[1].precision is None


def test_k_is_cut_to_the_number_of_classes():
    assert measured([[1, 0, 0], [1, 0, 0]], [1, 2]).top == {1: 0.0, 3: 1.0}
    assert measured([[1.0]], [0], topk=(1, 5)).top == {1: 1.0}


@given(st.integers(1, 9), st.integers(1, 9))
def test_constant_scores_earn_what_guessing_the_first_classes_earns(classes, k):
    labels = np.arange(classes)
    assert top_k(np.full((classes, classes), 1 / classes), labels, k) == pytest.approx(min(k, classes) / classes)
    assert top_k(np.zeros((1, classes)), np.array([classes - 1]), k) == (1.0 if k >= classes else 0.0)


@given(
    arrays.arrays(float, st.tuples(st.integers(1, 8), st.integers(1, 6)), elements=st.sampled_from([0.0, 0.25, 0.5])),
    st.integers(1, 6),
    st.randoms(use_true_random=False),
)
def test_of_equal_scores_the_lower_label_ranks_first(scores, k, random):
    labels = np.array([random.randrange(scores.shape[1]) for _ in scores])
    hits = 0
    for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
        best = sorted(range(len(row)), key=lambda other: (-row[other], other))[:k]
        hits += label in best
    assert top_k(scores, labels, k) == pytest.approx(hits / len(scores))
    result = measured(scores, labels)
    assert np.trace(result.confusion) / len(scores) == pytest.approx(result.top[1]), "top-1 is the confusion's diagonal"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_an_error_with_the_clips_name(value):
    with pytest.raises(TdpnError, match=r"^clip-1: 1 of 3 clips have a score that is not finite"):
        measured([[0, 1], [value, 1], [1, 0]], [0, 0, 1])


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_that_is_no_class_is_an_error_with_the_clips_name(label):
    with pytest.raises(DatasetError, match=f"^clip-2: label {label} is not among the 2 classes"):
        measured([[0, 1], [0, 1], [1, 0]], [0, 0, label])


def test_scores_of_another_number_of_classes_are_an_error():
    with pytest.raises(DatasetError, match="3 scores per clip, but 2 classes"):
        measure(np.zeros((1, 3)), np.array([0]), ids=["a"], classes=["x", "y"])


def test_nothing_to_measure_is_an_error():
    with pytest.raises(UsageError, match="no labelled clip"):
        measure(np.zeros((0, 2)), np.zeros(0, np.int64), ids=[], classes=["x", "y"])


@pytest.mark.parametrize("topk", [(), (0,), (1, -5)])
def test_a_k_below_one_is_an_error(topk):
    with pytest.raises(UsageError, match="--topk must be numbers of at least 1"):
        measured([[1, 0]], [0], topk=topk)
