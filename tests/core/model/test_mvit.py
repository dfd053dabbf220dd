"""Relative positions of MViT at sizes other than the published ones."""

import pytest
import torch

from tdpn_core.model.baselines.mvit import relative


@pytest.mark.parametrize(("queries", "keys"), [(4, 4), (8, 4), (2, 4), (1, 1), (3, 2)])
def test_relative_rows_are_those_of_the_distances_on_the_finer_axis(queries, keys):
    rows = 2 * max(queries, keys) - 1
    table = torch.arange(rows).float()[:, None]
    found = relative(table, queries, keys)[..., 0]
    finer = max(queries, keys)
    for query in range(queries):
        for key in range(keys):
            distance = query * finer / queries - key * finer / keys  # in steps of the finer axis
            lowest = (1 - keys) * finer / keys
            assert found[query, key] == int(distance - lowest)


def test_relative_table_of_another_clip_is_interpolated_and_stays_symmetric():
    table = (torch.arange(111) - 55).abs().float()[:, None]
    found = relative(table, 7, 7)[..., 0]
    torch.testing.assert_close(found, found.T)
    assert found.diagonal().eq(found[0, 0]).all()
    assert (found[0].diff() > 0).all()
