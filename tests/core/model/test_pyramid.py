import numpy as np
import pytest
import torch
from literal import conv_norm, convolve, max_over_time, nearest, rectify
from random_statistics import randomise

from tdpn_core.errors import ConfigError
from tdpn_core.model.heads import AuxiliaryHead
from tdpn_core.model.pyramid import Pyramid

LEVELS = ("res2", "res3", "res4", "res5")
NARROW = dict.fromkeys(LEVELS, 32) | {"res5": 64}


def literal_pyramid(neck, maps, flow, rates, separable=False):
    """maps: level to (C, T, H, W)."""
    modulated = []
    for level, rate in zip(neck.levels, rates, strict=True):
        x = maps[level]
        for step in neck.spatial[level]:
            if separable:
                x = rectify(conv_norm(convolve(x, step[0], stride=2, groups=len(x)), step[1]))
            else:
                x = rectify(conv_norm(x, step, stride=2))
        modulated.append(max_over_time(convolve(x, neck.temporal[level], groups=32), rate))

    def top_down(levels):
        out = list(levels)
        for i in range(len(out) - 1, 0, -1):
            out[i - 1] = out[i - 1] + nearest(out[i], out[i - 1].shape[1:])
        return out

    def bottom_up(levels):
        out = list(levels)
        for i in range(len(out) - 1):
            below = convolve(out[i], neck.bottom_up[neck.levels[i]])
            out[i + 1] = out[i + 1] + max_over_time(below, below.shape[1] // out[i + 1].shape[1])
        return out

    def fuse(fusion, levels):
        steps = levels[-1].shape[1]
        parts = [
            rectify(conv_norm(max_over_time(x, x.shape[1] // steps), fusion.levels[level], groups=32))
            for level, x in zip(neck.levels, levels, strict=True)
        ]
        return rectify(conv_norm(np.concatenate(parts), fusion.project))

    flows = {}
    if flow == "none":
        flows["levels"] = modulated
    if flow in ("cascade", "parallel", "top_down"):
        flows["top_down"] = top_down(modulated)
    if flow in ("parallel", "bottom_up"):
        flows["bottom_up"] = bottom_up(modulated)
    if flow == "cascade":
        flows["bottom_up"] = bottom_up(flows["top_down"])
    fused = [fuse(neck.fusion[name], levels) for name, levels in flows.items()]
    return rectify(conv_norm(np.concatenate(fused), neck.pyramid_fusion))


def narrow(levels=LEVELS, **options):
    neck = Pyramid(NARROW, levels=levels, num_frames=4, width=32, **options)
    return randomise(neck).double().eval()


def narrow_maps(rows=9, columns=16):
    """The sizes of a backbone's levels, halved upwards."""
    sizes = [(rows, columns)]
    for _ in LEVELS[1:]:
        sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
    return {
        level: torch.randn(1, NARROW[level], 4, *size, dtype=torch.float64).relu()
        for level, size in zip(LEVELS, sizes, strict=True)
    }


def compare(neck, flow, rates, **options):
    maps = narrow_maps()
    before = {level: x.clone() for level, x in maps.items()}
    out = neck(maps)
    expected = literal_pyramid(neck, {level: x[0].numpy() for level, x in maps.items()}, flow, rates, **options)
    np.testing.assert_allclose(out[0].detach().numpy(), expected, rtol=1e-8, atol=1e-9)
    assert all(torch.equal(maps[level], before[level]) for level in LEVELS)


@pytest.mark.parametrize("flow", ["cascade", "parallel", "top_down", "bottom_up", "none"])
def test_each_flow_is_its_formula_with_the_default_rates(flow):
    compare(narrow(flow=flow), flow, (4, 4, 4, 4))


@pytest.mark.parametrize("flow", ["cascade", "parallel", "none"])
def test_each_flow_is_its_formula_with_a_pyramid_of_rates(flow):
    compare(narrow(flow=flow, temporal_rates=(1, 2, 2, 4)), flow, (1, 2, 2, 4))


@pytest.mark.parametrize("levels", [("res4", "res5"), ("res2", "res5"), ("res5",)])
def test_any_rising_set_of_levels_makes_a_pyramid(levels):
    compare(narrow(levels=levels), "cascade", (4,) * len(levels))


def test_separable_modulation_is_depthwise_then_pointwise():
    compare(narrow(separable=True), "cascade", (4, 4, 4, 4), separable=True)


def test_the_flows_hand_new_lists_on():
    """The bottom-up flow of `parallel` must not see what the top-down flow added."""
    neck = narrow(flow="parallel")
    modulated = [torch.ones(1, 32, 1, 2, 2, dtype=torch.float64) for _ in LEVELS]
    flows = neck._flows(modulated)
    assert all(torch.equal(x, torch.ones_like(x)) for x in modulated)
    assert torch.equal(flows["bottom_up"][0], modulated[0])
    assert torch.equal(flows["top_down"][0], 4 * modulated[0])


@pytest.mark.parametrize(
    ("rates", "message"),
    [((3, 4, 4, 4), r"\(3, 4, 4, 4\) must divide the 4 frames"), ((4, 2, 2, 2), r"\(1, 2, 2, 2\) steps of 4 frames")],
)
def test_rates_that_do_not_divide_are_refused_with_the_numbers(rates, message):
    with pytest.raises(ConfigError, match=message):
        narrow(temporal_rates=rates)


def test_the_neck_starts_as_tpn_does():
    neck = Pyramid(NARROW, levels=LEVELS, num_frames=4, width=32)
    weight = neck.spatial["res4"][0].conv.weight  # 32 to 64 channels, 1x3x3
    bound = (6 / (32 * 9 + 64 * 9)) ** 0.5
    assert weight.abs().max() <= bound
    assert weight.abs().max() > 0.99 * bound
    assert torch.equal(neck.pyramid_fusion.bn.weight, torch.ones(64))
    auxiliary = AuxiliaryHead(32, 64, {"action": 400}, 0.5)
    assert auxiliary.head.linear["action"].weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert torch.equal(auxiliary.head.linear["action"].bias, torch.zeros(400))
