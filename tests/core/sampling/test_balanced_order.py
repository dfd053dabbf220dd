"""Balanced epochs: exact counts, within an epoch and over the run."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tdpn_core.sampling.balanced_order import BalancedOrder

LABELS = st.lists(st.integers(-1, 4), min_size=1, max_size=40).map(lambda values: np.array(values, dtype=np.int64))


@given(LABELS, st.integers(0, 3), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_every_class_has_equally_many_clips_and_every_clip_its_turn(labels: np.ndarray, seed: int, epochs: int) -> None:
    order = BalancedOrder(labels, seed)
    keys = [order.epoch(epoch) for epoch in range(epochs)]
    share = -(-len(labels) // len(set(labels.tolist())))
    for epoch in keys:
        assert len(epoch) == len(order) >= len(labels)
        assert set(Counter(int(labels[clip]) for _, clip in epoch).values()) == {share}
    every = [key for epoch in keys for key in epoch]
    assert len(set(every)) == len(every)  # a clip that comes twice in an epoch is cut out anew
    seen = Counter(clip for _, clip in every)
    for label in set(labels.tolist()):
        turns = [seen[clip] for clip in np.flatnonzero(labels == label).tolist()]
        assert max(turns) - min(turns) <= 1


def test_an_epoch_depends_on_seed_and_epoch_alone() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    assert BalancedOrder(labels, 1).epoch(4) == BalancedOrder(labels, 1).epoch(4)
    assert BalancedOrder(labels, 1).epoch(4) != BalancedOrder(labels, 2).epoch(4)
    assert BalancedOrder(labels, 1).epoch(4) != BalancedOrder(labels, 1).epoch(5)
