"""Memory layouts, set from outside: the same numbers, and the same state dict, whatever is set."""

import copy
import pickle

import pytest
import torch
from random_statistics import randomise

from tdpn_core.model.cpu import memory_layout as layout
from tdpn_core.model.cpu.fold_bn import for_inference
from tdpn_core.model.cpu.memory_layout import convolutions, set_layout
from tdpn_core.model.layers import FRAME, TIME, Conv

LAYOUTS = ("plain", "channels_last", "folded")


@pytest.mark.parametrize("arch", ["r18", "r50"])
@pytest.mark.parametrize("size", [(32, 32), (45, 70)])
def test_set_layout_any_layout_gives_the_same_outputs(small, clip_for, arch, size):
    model = randomise(small(arch=arch)).double().eval()
    clip = clip_for(model, size, batch=1).double()
    expected = model(clip)
    assert expected.abs().max() > 1e-3
    for name in (*LAYOUTS, "plain"):
        set_layout(model, name)
        torch.testing.assert_close(model(clip), expected, rtol=1e-9, atol=1e-12)


def test_set_layout_any_layout_gives_the_same_gradients(small, clip_for):
    model = randomise(small(dropout=0.0)).double()
    clip = clip_for(model).double()
    gradients = {}
    for name in LAYOUTS:
        set_layout(model, name)
        model.zero_grad()
        output = model(clip)
        (output.logits["action"].square().sum() + output.auxiliary["action"].square().sum()).backward()
        gradients[name] = {key: value.grad.clone() for key, value in model.named_parameters()}
    for name in LAYOUTS[1:]:
        for key, value in gradients["plain"].items():
            torch.testing.assert_close(gradients[name][key], value, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kernel", [(1, 1, 1), FRAME, TIME, (3, 3, 3)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_folded_convolution_equals_the_plain_one(kernel, stride, groups, wide, threads, monkeypatch):
    monkeypatch.setattr(layout, "WIDE", 8 if wide else 9)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    model = torch.nn.Sequential(Conv(8, 12, kernel, stride=stride, groups=groups)).double()
    x = torch.randn(2, 8, 3, 5, 6, dtype=torch.float64)
    plain = model(x)
    set_layout(model, "folded")
    torch.testing.assert_close(model(x), plain)


def test_set_layout_keeps_parameters_names_and_order(small):
    model = small()
    before = dict(model.named_parameters())
    set_layout(model, "folded")
    after = dict(model.named_parameters())
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)


@pytest.mark.parametrize("prepare", ["plain", "folded", "inference"])
def test_a_forward_pass_leaves_state_dict_copy_and_pickle_as_they_were(small, clip_for, prepare):
    original = randomise(small(arch="r50")).eval()
    of_original = {name: value.clone() for name, value in original.state_dict().items()}
    model = for_inference(original, torch.device("cpu")) if prepare == "inference" else copy.deepcopy(original)
    if prepare == "folded":
        set_layout(model, "folded")
    clip = clip_for(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.inference_mode():
        expected = model(clip)
        model(clip)  # packed weights are laid out in the second call
    for network in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model)), model):
        state = network.state_dict()
        assert list(state) == list(before)
        assert all(torch.equal(state[name], before[name]) and state[name].is_contiguous() for name in before)
        with torch.inference_mode():
            assert torch.equal(network(clip), expected)
    assert all(torch.equal(value, of_original[name]) for name, value in original.state_dict().items())


def test_convolutions_of_a_network_are_all_found(small):
    model = small()
    found = {id(conv) for *_, conv in convolutions(model)}
    assert found == {id(part) for part in model.modules() if isinstance(part, torch.nn.Conv3d)}


def test_choose_a_device_that_was_not_measured_runs_plain():
    assert layout.choose("tpu", training=True) == "plain"
