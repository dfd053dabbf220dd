"""The paired test of multi-label scores."""

import numpy as np
import pytest

from tdpn_core.evaluation.paired import exchange_test


def drawn(seed: int, clips: int = 80) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random((clips, 3)) < 0.4).astype(np.int64)
    return labels, rng.random((clips, 3))


def test_equal_scores_differ_by_chance_alone():
    labels, noise = drawn(0)
    assert exchange_test([noise], [noise], labels) == 1


def test_scores_that_know_the_labels_differ_from_noise():
    labels, noise = drawn(0)
    good = labels + 0.5 * noise
    assert exchange_test([good], [noise], labels) == pytest.approx(1 / 1001)
    assert exchange_test([good], [noise], labels) == exchange_test([noise], [good], labels), "the test has two sides"


def test_p_of_equally_good_scores_is_rarely_small():
    found = []
    for seed in range(100, 112):
        labels, noise = drawn(seed, clips=80)
        found.append(exchange_test([noise[:40]], [noise[40:]], labels[:40]))
    assert np.mean(np.array(found) < 0.1) <= 0.34
    assert max(found) > 0.4
