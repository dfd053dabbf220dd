"""Calibration against scikit-learn and by hand; intervals against resampling clip by clip."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from tdpn_core.evaluation.metrics import BINS, calibrate, mean_class_interval, share_interval


def test_the_calibration_error_by_hand() -> None:
    """Bins of a fifteenth: .90 and .92 share one (mean .91, half right), .55 has another (wrong)."""
    probabilities = np.array([[0.90, 0.10], [0.08, 0.92], [0.55, 0.45]])
    result = calibrate(probabilities, np.array([0, 0, 1]))
    assert [(one.clips, one.confidence, one.accuracy) for one in result.bins] == [
        (1, pytest.approx(0.55), 0.0),
        (2, pytest.approx(0.91), 0.5),
    ]
    assert result.error == pytest.approx((0.55 * 1 + 0.41 * 2) / 3)


@pytest.mark.parametrize("seed", range(3))
def test_bins_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(4) / 2, 500)
    labels = rng.integers(0, 4, 500)
    right = probabilities.argmax(axis=1) == labels
    accuracy, confidence = calibration_curve(right, probabilities.max(axis=1), n_bins=BINS)
    result = calibrate(probabilities, labels)
    assert [one.accuracy for one in result.bins] == pytest.approx(accuracy.tolist())
    assert [one.confidence for one in result.bins] == pytest.approx(confidence.tolist())
    assert sum(one.clips for one in result.bins) == 500


def test_probabilities_of_zero_and_one_have_a_bin() -> None:
    assert calibrate(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 0])).error == 0.0
    assert calibrate(np.array([[1.0]]), np.array([0])).error == 0.0


def test_the_interval_of_a_share_is_that_of_resampled_clips() -> None:
    rng = np.random.default_rng(0)
    hits = np.arange(200) < 130
    shares = hits[rng.integers(0, 200, (4000, 200))].mean(axis=1)
    assert share_interval(130, 200) == pytest.approx(np.quantile(shares, [0.025, 0.975]).tolist(), abs=0.012)


def test_the_interval_of_the_mean_class_accuracy_is_that_of_resampled_clips() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [100, 40, 3])
    right = np.concatenate([np.arange(100) < 80, np.arange(40) < 10, np.arange(3) < 2])
    means = []
    for _ in range(2000):
        drawn = rng.integers(0, len(labels), len(labels))
        own = [right[drawn][labels[drawn] == label] for label in range(3)]
        means.append(np.mean([part.mean() for part in own if len(part)]))
    found = mean_class_interval(np.array([80, 10, 2]), np.array([100, 40, 3]))
    assert found == pytest.approx(np.quantile(means, [0.025, 0.975]).tolist(), abs=0.02)


def test_intervals_are_the_same_each_time_and_a_sure_thing_has_none() -> None:
    assert share_interval(7, 20) == share_interval(7, 20)
    assert share_interval(20, 20) == (1.0, 1.0)
    assert share_interval(0, 5) == (0.0, 0.0)
    assert mean_class_interval(np.array([3, 0]), np.array([3, 0])) == (1.0, 1.0)
