"""Weights go back to where they came from."""

import pytest
import torch
from safetensors.torch import load_file

import tdpn_core
from tdpn_core.errors import CheckpointError
from tdpn_core.model.registry import create_model
from tdpn_core.weights.export import export_weights
from tdpn_core.weights.transfer import transfer


def randomised(model):
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape) + 0.5 if "running_var" in name else 0.1 * torch.randn(value.shape))
    return model.eval()


def test_an_image_network_comes_back_as_it_was(parity, write, tmp_path):
    known = parity("torchvision_resnet18").state
    network = tdpn_core.load_model(write(known)).network
    report = export_weights(network, tmp_path / "out.safetensors")
    out = load_file(tmp_path / "out.safetensors")
    assert set(out) == set(known)
    assert all(torch.equal(value, known[name]) for name, value in out.items())
    assert report.left_out == {}


def test_inflated_kernels_are_summed_back_and_what_images_have_not_is_left_out(tmp_path):
    options = {"arch": "r50", "width": 0.25, "num_classes": 3, "num_frames": 2, "input_size": 64}
    images = randomised(create_model("tsn", **{**options, "num_frames": 1})).state_dict()
    network = create_model("tdpn", **options)
    transfer(network, images, "images", images=True)
    report = export_weights(network, tmp_path / "out.safetensors")
    out = load_file(tmp_path / "out.safetensors")
    torch.testing.assert_close(out["layer4.1.conv1.weight"], images["backbone.layer4.1.conv1.weight"].squeeze(2))
    assert torch.equal(out["conv1.weight"], images["backbone.conv1.weight"].squeeze(2))
    assert "backbone.layer4.0.conv2.qkv.weight" in report.left_out
    assert report.left_out["pyramid.temporal.res2.weight"] == "torchvision has no such part"
    assert set(report.filled.values()) | set(report.left_out) == set(network.state_dict())


@pytest.mark.parametrize("name", ["tpn", "tsm+tpn", "slowonly", "tsm"])
def test_a_network_under_tpns_names_is_read_as_the_same(tmp_path, name):
    options = {"shift": "inplace"} if "tsm" in name else {}
    network = randomised(create_model(name, arch="r18", num_classes=5, num_frames=2, input_size=32, **options))
    report = export_weights(network, tmp_path / "out.safetensors", names="decisionforce/TPN")
    assert report.left_out == {}
    model = tdpn_core.load_model(tmp_path / "out.safetensors")
    clip = torch.randn(1, 3, 2, 32, 32)
    with torch.inference_mode():
        expected = network(clip)
        out = model(clip.transpose(1, 2) if "tsm" in name else clip)
    torch.testing.assert_close(out, expected)


def test_several_heads_are_left_out(tmp_path):
    network = create_model("tsn", arch="r18", width=0.125, num_classes={"verb": 2, "noun": 3})
    report = export_weights(network, tmp_path / "out.safetensors")
    assert set(report.left_out) == {f"head.linear.{h}.{p}" for h in ("verb", "noun") for p in ("weight", "bias")}


def test_a_network_without_such_names_is_refused(tmp_path):
    network = create_model("i3d", arch="inception", width=0.125, num_classes=3)
    with pytest.raises(CheckpointError, match="torchvision has no names for the weights of a i3d inception"):
        export_weights(network, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
