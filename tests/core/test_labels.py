"""Labels of one class or of several: each conversion against the other."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as some

from tdpn_core.labels import classes_of, clips_per_class, first_classes, from_row, known, to_rows

SETS = some.lists(some.sets(some.integers(0, 4)).map(lambda own: tuple(sorted(own))) | some.just((-1,)), max_size=12)


@given(SETS)
def test_sets_of_classes_survive_rows(sets):
    rows = to_rows(sets, 5)
    assert [from_row(row) for row in rows] == sets
    assert known(rows).tolist() == [own != (-1,) for own in sets]
    assert [classes_of(rows, clip) for clip in range(len(sets))] == [[c for c in own if c >= 0] for own in sets]
    assert clips_per_class(rows, 5).tolist() == [sum(label in own for own in sets) for label in range(5)]
    assert first_classes(rows).tolist() == [own[0] if own else -1 for own in sets]


@given(some.lists(some.integers(-1, 4), max_size=12))
def test_single_classes_are_sets_of_at_most_one(labels):
    values = np.array(labels, np.int64)
    assert [from_row(value) for value in values] == labels
    assert [classes_of(values, clip) for clip in range(len(labels))] == [[one] if one >= 0 else [] for one in labels]
    assert clips_per_class(values, 5).tolist() == [labels.count(label) for label in range(5)]
    assert known(values).tolist() == [one >= 0 for one in labels]
    assert first_classes(values) is values
