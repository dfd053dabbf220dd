"""Every family computes on a GPU what it computes on the CPU, in each format and layout."""

import pytest
import torch

from tdpn_core.config.families import FAMILIES, model_config
from tdpn_core.model.base import Network
from tdpn_core.model.cpu.fold_bn import fold_normalisations
from tdpn_core.model.cpu.memory_layout import Layout, set_layout
from tdpn_core.model.precision import Asked, choose_precision
from tdpn_core.model.registry import build_model

pytestmark = pytest.mark.cuda

GPU = torch.device("cuda", 0)
BOUND = {"float32": 1e-3, "bf16": 6e-2, "fp16": 1e-2}
"""Largest difference of a logit to float32 on the CPU, in parts of the largest logit."""


def _pair(name: str) -> tuple[Network, Network, torch.Tensor]:
    """The same small network on the CPU and on the GPU, and a clip batch for it."""
    torch.manual_seed(0)
    classes = {"action": 5}
    width = 0.125 if name != "i3d" else 0.25
    config = model_config(name=name, num_classes=classes, num_frames=8, input_size=64, width=width, dropout=0.0)
    one = build_model(config)
    for module in one.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 1.0)
    other = build_model(config)
    other.load_state_dict(one.state_dict())
    frames = config.num_frames * config.frames_per_step
    return one, other.to(GPU), torch.randn(2, config.channels, frames, 64, 64)


@pytest.mark.parametrize("asked", ["float32", "bf16", "fp16"])
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_family_in_half_precision_is_near_float32_on_the_cpu(name: str, asked: Asked) -> None:
    one, other, clips = _pair(name)
    expected = one.train()(clips).logits["action"]
    precision = choose_precision(asked, GPU)
    with precision.autocast():
        logits = other.train()(clips.to(GPU)).logits["action"]
        loss = logits.float().square().mean()
    precision.scaler.scale(loss).backward()
    assert (logits.float().cpu() - expected).abs().max() <= BOUND[asked] * expected.abs().max()
    gradients = [value.grad for value in other.parameters() if value.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("layout", ["plain", "channels_last", "folded"])
@pytest.mark.parametrize("training", [True, False])
def test_a_layout_changes_no_logit(layout: Layout, training: bool) -> None:
    one, other, clips = _pair("tdpn")
    choose_precision("float32", GPU)
    if not training:
        one, other = one.eval(), fold_normalisations(other)
    set_layout(other, layout)
    with torch.set_grad_enabled(training):
        left, right = one(clips), other(clips.to(GPU))
    expected, found = (values.logits["action"] if training else values for values in (left, right))
    assert torch.allclose(found.cpu(), expected, atol=1e-3 * float(expected.abs().max()))


def test_a_compiled_network_gives_the_logits_of_the_eager_one() -> None:
    _, other, clips = _pair("tdpn")
    other = other.train()
    compiled = torch.compile(other)
    with choose_precision("auto", GPU).autocast():
        expected = other(clips.to(GPU)).logits["action"].float()
        found = compiled(clips.to(GPU)).logits["action"].float()
    assert (found - expected).abs().max() <= 6e-2 * expected.abs().max()
