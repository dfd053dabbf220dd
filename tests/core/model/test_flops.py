import pytest

from tdpn_core.config.families import model_config
from tdpn_core.model.flops import cost
from tdpn_core.model.registry import build_model

TPN = {"levels": ("res4", "res5"), "temporal": ("none",) * 4, "attention": False}


def within(value):
    return pytest.approx(value, rel=0.005)


@pytest.mark.parametrize(
    ("options", "backbone", "difference", "neck", "total", "infer", "train"),
    [
        ({}, 41.2, 2.9 + 0.9, 46.4, 91.4, 131.8e6, 151.5e6),
        ({"num_frames": 32}, 164.9, 11.6 + 3.6, 180.5, 360.6, 131.8e6, 151.5e6),
        ({"arch": "r101"}, 84.9, 2.9 + 0.9, 46.4, 135.1, 159.7e6, 179.4e6),
        (TPN, 41.7, None, 8.5, 50.3, 71.80e6, 91.498e6),
    ],
    ids=["TDPN-R50 8x224", "TDPN-R50 32x224", "TDPN-R101 8x224", "TPN-R50 8x224"],
)
def test_networks_cost_what_was_counted_independently(options, backbone, difference, neck, total, infer, train):
    found = cost(model_config(**options))
    assert found.gmac["backbone"] == within(backbone)
    assert found.gmac["pyramid"] == within(neck)
    assert found.gmac["total"] == within(total)
    assert found.parameters == within(infer)
    assert found.training_parameters == within(train)
    if difference is None:
        assert "temporal_difference" not in found.gmac
    else:
        assert found.gmac["temporal_difference"] == within(difference)


@pytest.mark.parametrize(
    ("options", "parameters", "gmac"),
    [
        ({"name": "tsn"}, 24_327_632, 8 * 4.09),
        ({"name": "tsn", "arch": "r101"}, 43.3e6, 8 * 7.8),
        ({"name": "tsm"}, 24_327_632, 32.9),
        ({"name": "slowonly"}, 32_454_096, 41.7),
        ({"name": "c2d"}, 24_327_632, None),
        ({"name": "i3d"}, 12_697_264, None),
        ({"name": "i3d", "arch": "r50", "num_frames": 32}, 28_043_472, None),
        ({"name": "slowfast", "input_size": 256}, 34_566_488, 65.7),
        ({"name": "slowfast", "lateral_norm": False}, 34_565_560, None),
        ({"name": "tpn", "num_frames": 32}, 71.8e6, 198),
        ({"name": "tpn", "arch": "r101", "num_frames": 32}, 99.7e6, 373),
        ({"name": "tdn"}, 24.88e6, 35.6),
        ({"name": "tdn", "arch": "r101"}, 44.1e6, 65.8),
        ({"name": "r2plus1d"}, 28_107_600, None),
        ({"name": "r2plus1d", "arch": "r18", "input_size": 112}, 31_505_325, 40.52),
        (
            {"name": "r2plus1d", "arch": "r34", "form": "mmaction2", "num_frames": 8, "input_size": 256},
            63_759_281,
            53.18,
        ),
        ({"name": "swin"}, 28_158_070, None),
        ({"name": "swin", "arch": "base"}, 88_048_984, None),
        ({"name": "mvit"}, 34_537_744, 64.22),
        ({"name": "videomae"}, 86_534_800, 180.5),
        ({"name": "videomae", "arch": "small"}, 22.0e6, 57.0),
        ({"name": "videomae", "arch": "large"}, 304e6, 597),
        ({"name": "r3d"}, 33_371_472, 40.70),
        ({"name": "r3d", "mixed": True}, 11_695_440, 43.34),
        ({"name": "c3d", "num_classes": {"action": 101}}, 78_409_573, 38.5),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_the_others_cost_what_is_published_or_was_counted_by_their_own_code(options, parameters, gmac):
    found = cost(model_config(**options))
    assert found.parameters == (parameters if isinstance(parameters, int) else within(parameters))
    if gmac is not None:
        assert found.gmac["total"] == pytest.approx(gmac, rel=0.01)


def test_the_local_and_the_global_modules_cost_what_was_counted_independently():
    none = cost(model_config(temporal=("none",) * 4)).gmac["total"]
    local = cost(model_config(temporal=("none", "none", "local", "local"))).gmac["total"]
    global_ = cost(model_config(temporal=("global", "global", "none", "none"))).gmac["total"]
    assert local - none == pytest.approx(2.9, rel=0.005)
    assert global_ - none == pytest.approx(0.91, rel=0.005)


def test_the_backbone_without_attention_is_slowonly():
    config = model_config(**TPN)
    backbone = build_model(config).backbone
    linear = 2048 * 400 + 400
    assert sum(value.numel() for value in backbone.parameters()) + linear == 32_454_096
    assert cost(config).gmac["backbone"] + linear / 1e9 == within(41.7)


def test_separable_spatial_modulation_makes_the_neck_cheap():
    assert cost(model_config(spatial_modulation="separable")).gmac["pyramid"] == within(7.0)


def test_the_auxiliary_head_counts_in_training_only():
    with_head, without = cost(model_config()), cost(model_config(auxiliary_head=False))
    assert with_head.gmac == without.gmac
    assert with_head.parameters == without.parameters == without.training_parameters
    assert with_head.training_parameters > with_head.parameters


def test_parts_add_up_and_other_sizes_are_counted():
    square, wide = cost(model_config()), cost(model_config(), size=(224, 448))
    assert sum(square.gmac.values()) == pytest.approx(2 * square.gmac["total"])
    assert 1.95 < wide.gmac["total"] / square.gmac["total"] < 2.05
