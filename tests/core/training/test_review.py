"""Clips whose label is doubted by classifiers that were not trained on them."""

from __future__ import annotations

import numpy as np
import pytest

from tdpn_core.training.review import out_of_fold

CLIPS = 40


@pytest.fixture
def labels() -> np.ndarray:
    return np.arange(CLIPS) % 2


@pytest.fixture
def features(labels: np.ndarray) -> np.ndarray:
    """Two rows a clip, around +1 and -1 by class."""
    rng = np.random.default_rng(0)
    return np.repeat(2.0 * labels - 1, 2)[:, None] + 0.1 * rng.normal(size=(2 * CLIPS, 3))


CLIP = np.repeat(np.arange(CLIPS), 2)


def test_out_of_fold_wrong_label_is_the_only_one_that_is_not_the_likeliest(
    features: np.ndarray, labels: np.ndarray
) -> None:
    given = labels.copy()
    given[7] = 0
    found = out_of_fold(features, given, CLIP, np.arange(CLIPS) // 2)
    assert [number for number, values in found.items() if values.argmax() != given[number]] == [7]
    assert sorted(found) == list(range(CLIPS))
    assert all(values.sum() == pytest.approx(1) for values in found.values())


def test_out_of_fold_copies_of_a_clip_in_its_video_do_not_confirm_its_label(labels: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(CLIPS, 400))  # nothing to learn but which clip it is
    features[1::2] = features[::2]
    given = np.repeat(rng.integers(0, 2, CLIPS // 2), 2)
    together = out_of_fold(features, given, np.arange(CLIPS), np.arange(CLIPS) // 2)
    apart = out_of_fold(features, given, np.arange(CLIPS), np.arange(CLIPS))

    def right(found: dict[int, np.ndarray]) -> float:
        return float(np.mean([values.argmax() == given[number] for number, values in found.items()]))

    assert right(together) < 0.8 < right(apart)


def test_out_of_fold_clip_without_label_or_alone_in_its_class_is_left_out(
    features: np.ndarray, labels: np.ndarray
) -> None:
    given = labels.copy()
    given[:2] = -1, 2
    found = out_of_fold(features, given, CLIP, np.arange(CLIPS))
    assert sorted(found) == list(range(2, CLIPS))
    assert out_of_fold(features, given, CLIP, np.zeros(CLIPS, int)) == {}
