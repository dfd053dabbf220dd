"""Networks that are built without values have the shapes of those with values, and hold none."""

import pytest
import torch
from small_families import smallest

from tdpn_core.config.families import FAMILIES
from tdpn_core.model.registry import build_model
from tdpn_core.model.without_values import without_values


@pytest.mark.parametrize("name", FAMILIES)
def test_without_values_every_family_has_its_shapes_and_no_values(small, name: str) -> None:
    config = small(**smallest(name)).config
    full = build_model(config).state_dict()
    with without_values():
        empty = build_model(config).state_dict()
    assert {key: value.shape for key, value in empty.items()} == {key: value.shape for key, value in full.items()}
    assert all(value.is_meta for value in empty.values())


def test_without_values_a_tensor_with_a_device_is_computed() -> None:
    with without_values():
        table = torch.ones(2, device="cpu").mul_(3).add_(1)
    assert table.tolist() == [4, 4]
