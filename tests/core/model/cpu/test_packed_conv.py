"""Convolutions with their weights laid out once: the numbers of torch's own, whatever they were laid out for."""

import copy

import pytest
import torch
from random_statistics import randomise
from small_families import smallest
from torch.nn import functional as F

from tdpn_core.config.families import FAMILIES
from tdpn_core.model.cpu import packed_conv as packed
from tdpn_core.model.cpu.fold_bn import for_inference
from tdpn_core.model.cpu.memory_layout import convolutions, set_layout
from tdpn_core.model.cpu.packed_conv import Geometry, PackedConvolution, pack_convolutions
from tdpn_core.model.layers import FRAME, POINT, TIME, Conv

pytestmark = pytest.mark.skipif(not packed._supported(), reason="oneDNN's packed convolutions are for x86 processors")

CASES = [
    # channels, out, kernel, stride, padding, groups, sizes
    (16, 24, (3, 3), (2, 2), (1, 1), 1, (9, 8)),
    (12, 20, (1, 1), (2, 2), (0, 0), 4, (5, 5)),
    (8, 8, (3, 3), (1, 1), (1, 1), 8, (6, 7)),
    (64, 32, (3, 1), (1, 1), (1, 0), 32, (4, 49)),
    (3, 16, (7, 7), (2, 2), (3, 3), 1, (20, 22)),
    (32, 32, (3, 1), (1, 1), (1, 0), 1, (1, 1)),
    (64, 32, (3, 1), (1, 1), (1, 0), 32, (4, 1)),
    (16, 24, (3, 3, 3), (1, 2, 2), (1, 1, 1), 1, (4, 9, 9)),
    (4, 8, (7, 7, 7), (2, 2, 2), (0, 0, 0), 1, (11, 13, 12)),
]


@pytest.fixture(params=CASES, ids=str)
def convolution(request):
    """Inputs of several batches, weights, bias, and how the kernel moves."""
    channels, out, kernel, stride, padding, groups, sizes = request.param
    random = torch.Generator().manual_seed(0)
    layout = torch.channels_last if len(kernel) == 2 else torch.channels_last_3d
    inputs = [
        torch.randn(batch, channels, *sizes, generator=random).contiguous(memory_format=layout) for batch in (2, 5, 1)
    ]
    weight = torch.randn(out, channels // groups, *kernel, generator=random)
    return inputs, weight, torch.randn(out, generator=random), Geometry(stride, padding, groups)


def exact(x, weight, bias, geometry):
    """In double precision, by torch."""
    convolve = F.conv2d if weight.ndim == 4 else F.conv3d
    return convolve(x.double(), weight.double(), bias.double(), geometry.stride, geometry.padding, 1, geometry.groups)


@pytest.fixture(params=[False, True], ids=["as convolution", "as product"])
def large(request, monkeypatch):
    """Whether the weights count as large."""
    if request.param:
        monkeypatch.setattr(packed, "LARGE", 0)


@torch.inference_mode()
def test_outputs_are_torchs_to_rounding(convolution, large):
    inputs, weight, bias, geometry = convolution
    run = PackedConvolution(weight, bias, geometry)
    for x in inputs:
        expected = exact(x, weight, bias, geometry)
        assert (run(x) - expected).abs().max() <= 1e-5 * expected.abs().max()


@torch.inference_mode()
def test_neither_the_call_nor_the_batch_that_weights_were_laid_out_for_changes_a_bit(convolution, large):
    inputs, weight, bias, geometry = convolution
    runs = [PackedConvolution(weight, bias, geometry) for _ in inputs]
    for run, x in zip(runs, inputs, strict=True):
        run(x)
        run(x)  # laid out for this one
    for x in inputs:
        expected = PackedConvolution(weight, bias, geometry)(x)  # a first call
        assert all(torch.equal(run(x), expected) for run in runs)


@pytest.mark.parametrize("calls", [0, 1, 2])
@torch.inference_mode()
def test_weights_come_back_bit_for_bit(convolution, large, calls):
    inputs, weight, bias, geometry = convolution
    run = PackedConvolution(weight, bias, geometry)
    for x in inputs[:calls]:
        run(x)
    assert torch.equal(run.unpacked(), weight)


def test_only_large_kernels_over_space_without_groups_become_products():
    over_space, once, grouped = Geometry((2, 2), (1, 1), 1), Geometry((1, 1), (0, 0), 1), Geometry((2, 2), (1, 1), 2)
    large = torch.empty(2048, 1024, 3, 3, device="meta")
    assert packed.is_large(large, over_space)
    assert not packed.is_large(large[:256], over_space)
    assert not packed.is_large(large, grouped)
    assert not packed.is_large(torch.empty(8192, 8192, 1, 1, device="meta"), once)
    assert not packed.is_large(torch.empty(2048, 1024, 3, 3, 3, device="meta"), Geometry((1,) * 3, (1,) * 3, 1))


@pytest.fixture
def packing():
    """A sequence of one convolution that packs its weights, as inference has it."""

    def build(kernel, **options):
        model = torch.nn.Sequential(Conv(8, 12, kernel, **options))
        pack_convolutions(model)
        return model

    return build


@pytest.mark.parametrize("kernel", [POINT, FRAME, TIME, (3, 3, 3)])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_packed_convolution_returns_to_torchs_where_it_cannot_run(kernel, stride, packing):
    model = packing(kernel, stride=stride)
    conv = model[0]
    x = torch.randn(2, 8, 3, 5, 6)
    before = copy.deepcopy(conv.weight)
    with torch.inference_mode():
        run = model(x)
        assert conv._packed
        assert conv.weight is None, "one copy of the weights is enough"
        torch.testing.assert_close(run, model(x))
    torch.testing.assert_close(model(x), run, rtol=1e-5, atol=1e-5)  # with a gradient
    assert conv._packed is None
    assert torch.equal(conv.weight, before)


@torch.inference_mode()
def test_load_state_dict_into_a_packed_network_takes_the_new_weights(packing):
    model, x = packing(FRAME), torch.randn(1, 8, 2, 4, 4)
    first = model(x)
    model.load_state_dict({name: 2 * value for name, value in model.state_dict().items()})
    torch.testing.assert_close(model(x), 2 * first)


@torch.inference_mode()
def test_moving_a_packed_network_to_another_type_moves_its_weights(packing):
    model, x = packing(FRAME), torch.randn(1, 8, 2, 4, 4)
    first = model(x)
    torch.testing.assert_close(model.double()(x.double()), first.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("refused", ["gradient", "double", "autocast"])
def test_what_oneDNN_cannot_do_is_left_to_torch(refused, packing):
    model = packing(FRAME).double() if refused == "double" else packing(FRAME)
    x = torch.randn(1, 8, 2, 4, 4, dtype=model[0].weight.dtype)
    with torch.set_grad_enabled(refused == "gradient"), torch.autocast("cpu", enabled=refused == "autocast"):
        model(x)
    assert model[0]._packed is None


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_runs_packed_in_inference_and_gives_the_same_logits(small, clip_for, name, large):
    model = randomise(small(**smallest(name))).eval()
    clip = clip_for(model)
    model.auxiliary_head = None  # for training only
    with torch.inference_mode():
        before = model(clip)
        fast = for_inference(model, torch.device("cpu"))
        assert (fast(clip) - before).abs().max() <= 1e-5 * before.abs().max()
        packed_ones = [conv for *_, conv in convolutions(fast)]
        assert packed_ones
        assert all(conv._packed for conv in packed_ones), "each convolution of the network runs packed"
        set_layout(fast, "plain")
        assert (fast(clip) - before).abs().max() <= 1e-5 * before.abs().max()
        assert not any(conv._packed for conv in packed_ones)
