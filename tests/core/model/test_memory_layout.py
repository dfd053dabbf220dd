import pytest
import torch
from random_statistics import randomise

from tdpn_core.model import layout
from tdpn_core.model.operations import FRAME, TIME, Conv

LAYOUTS = ("plain", "channels_last", "folded")


@pytest.mark.parametrize("arch", ["r18", "r50"])
@pytest.mark.parametrize("size", [(32, 32), (45, 70)])
def test_outputs_are_the_same_in_all_layouts(small, clip_for, arch, size):
    model = randomise(small(arch=arch)).double().eval()
    clip = clip_for(model, size, batch=1).double()
    outputs = {}
    for name in LAYOUTS:
        model.layout = name
        outputs[name] = model(clip)
    assert outputs["plain"].abs().max() > 1e-3
    for name in LAYOUTS[1:]:
        torch.testing.assert_close(outputs[name], outputs["plain"], rtol=1e-9, atol=1e-12)


def test_gradients_are_the_same_in_all_layouts(small, clip_for):
    model = randomise(small(dropout=0.0)).double()
    clip = clip_for(model).double()
    gradients = {}
    for name in LAYOUTS:
        model.layout = name
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
def test_a_folded_convolution_is_the_plain_one(kernel, stride, groups, wide, threads, monkeypatch):
    monkeypatch.setattr(layout, "WIDE", 8 if wide else 9)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    conv = Conv(8, 12, kernel, stride=stride, groups=groups).double()
    x = torch.randn(2, 8, 3, 5, 6, dtype=torch.float64)
    plain = conv(x)
    conv.layout = "folded"
    torch.testing.assert_close(conv(x), plain)


def test_the_state_dict_does_not_depend_on_the_layout(small, clip_for):
    model = small().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for name in LAYOUTS:
        model.layout = name
        model(clip_for(model))
        after = model.state_dict()
        assert list(after) == list(before)
        assert all(torch.equal(after[key], before[key]) and after[key].is_contiguous() for key in before)


def test_a_model_takes_the_layout_decided_for_its_device_and_mode(small, clip_for, monkeypatch):
    monkeypatch.setattr(layout, "DECISION", {("cpu", False): "folded", ("cpu", True): "channels_last"})
    model = small()
    model.train()(clip_for(model))
    assert {part.layout for part in model.modules() if isinstance(part, Conv)} == {"channels_last"}
    model.eval()(clip_for(model))
    assert {part.layout for part in model.modules() if isinstance(part, Conv)} == {"folded"}
    model.layout = "plain"
    model(clip_for(model))
    assert {part.layout for part in model.modules() if isinstance(part, Conv)} == {"plain"}


def test_a_device_that_was_not_measured_runs_plain():
    assert layout.choose("tpu", training=True) == "plain"
