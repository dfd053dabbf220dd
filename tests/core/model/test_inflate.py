import pytest
import torch

from tdpn_core.errors import CheckpointError
from tdpn_core.model.factory import create_model
from tdpn_core.model.inflate import inflate


def images(model, *, classes=10):
    """A 2D state dict with torchvision's names for the backbone's depth, in which attention is a 3x3 convolution."""
    plain = create_model("tdpn", arch=model.config.arch, width=model.config.width, attention=False, num_frames=1)
    shapes = {name: value.shape for name, value in plain.backbone.state_dict().items()}
    state = {
        name: torch.randn(shape[:2] + shape[3:] if len(shape) == 5 else shape) if shape else torch.tensor(7)
        for name, shape in shapes.items()
    }
    state["fc.weight"] = torch.randn(classes, 8)
    state["fc.bias"] = torch.randn(classes)
    return state


@pytest.fixture
def model():
    return create_model("tdpn", arch="r50", width=0.25, num_classes=3, num_frames=2, input_size=64)


def test_kernels_are_copied_over_time_and_divided(model):
    state = images(model)
    inflate(model, state)
    filled = model.backbone.state_dict()
    for time, name in ((1, "conv1.weight"), (1, "layer1.0.conv2.weight"), (3, "layer4.1.conv1.weight")):
        assert filled[name].shape[2] == time
        for t in range(time):
            torch.testing.assert_close(filled[name][:, :, t], state[name] / time)
    for name in ("bn1.weight", "layer2.0.bn3.bias", "layer3.5.bn1.running_mean", "layer4.0.downsample.1.running_var"):
        assert torch.equal(filled[name], state[name])


def test_a_still_clip_goes_through_inflated_convolutions_as_its_frame_does(model):
    """Away from the ends of time, where the padding is."""
    state = images(model)
    inflate(model, state)
    conv = model.backbone.layer3[0].conv1
    frame = torch.randn(1, 128, 4, 4)
    clip = frame.unsqueeze(2).expand(-1, -1, 5, -1, -1)
    expected = torch.nn.functional.conv2d(frame, state["layer3.0.conv1.weight"])
    torch.testing.assert_close(conv(clip)[:, :, 2], expected, rtol=1e-4, atol=1e-3)


def test_the_local_module_starts_from_the_stem_and_res2(model):
    state = images(model)
    report = inflate(model, state)
    local = model.temporal_difference.local.state_dict()
    mean = state["conv1.weight"].mean(1)
    for channel in range(12):
        torch.testing.assert_close(local["conv1.weight"][:, channel, 0], mean)
    torch.testing.assert_close(local["layer1.2.conv2.weight"][:, :, 0], state["layer1.2.conv2.weight"])
    assert torch.equal(local["layer1.0.downsample.1.running_mean"], state["layer1.0.downsample.1.running_mean"])
    assert torch.equal(local["bn1.running_mean"], torch.zeros(32))
    assert "temporal_difference.local.bn1.weight" in report.unfilled


def test_every_entry_of_both_sides_is_accounted_for(model):
    state = images(model)
    report = inflate(model, state)
    assert set(report.loaded) | set(report.unfilled) == set(model.state_dict())
    assert not set(report.loaded) & set(report.unfilled)
    loaded = {name.removeprefix("backbone.") for name in report.loaded if name.startswith("backbone.")}
    assert loaded | set(report.left_out) == set(state)
    assert report.left_out["fc.bias"] == "the image classifier"
    assert report.left_out["layer4.2.conv2.weight"] == "attention stands in its place"
    assert "attention" in report.left_out["layer4.0.bn3.running_var"]
    assert {"backbone.layer4.1.conv2.qkv.weight", "backbone.layer4.1.bn3.weight"} <= set(report.unfilled)


def test_attention_still_starts_as_nothing_after_inflation(model):
    inflate(model, images(model))
    assert all(torch.equal(block.bn3.weight, torch.zeros(512)) for block in model.backbone.layer4)


def test_without_attention_the_whole_backbone_is_filled():
    model = create_model("tdpn", arch="r18", num_classes=3, num_frames=1, attention=False)
    report = inflate(model, images(model))
    assert not any(name.startswith("backbone.") for name in report.unfilled)
    assert set(report.left_out) == {"fc.weight", "fc.bias"}
    assert any(name.startswith("temporal_difference.local.layer1") for name in report.unfilled)
    assert "temporal_difference.local.conv1.weight" in report.loaded


def test_torchvisions_own_names_fit(reference):
    model = create_model("tdpn", arch="r18", num_classes=3, num_frames=2, attention=False)
    weights = reference("torchvision_resnet18").weights
    report = inflate(model, weights)
    assert set(report.left_out) == {"fc.weight", "fc.bias"}
    assert torch.equal(model.backbone.layer1[0].conv1.weight[:, :, 0], weights["layer1.0.conv1.weight"])


def test_files_without_counters_load(model):
    state = {name: value for name, value in images(model).items() if not name.endswith("num_batches_tracked")}
    report = inflate(model, state)
    assert "backbone.bn1.weight" in report.loaded
    assert "backbone.bn1.num_batches_tracked" in report.unfilled


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("layer3.5.conv1.weight"), "lacks layer3.5.conv1.weight"),
        (lambda state: state.update({"layer3.6.conv1.weight": torch.zeros(1)}), "has layer3.6.conv1.weight"),
        (lambda state: state.update({"layer1.0.conv1.weight": torch.zeros(64, 32, 1, 1)}), r"\(64, 32, 1, 1, 1\)"),
    ],
)
def test_a_file_of_another_network_is_refused_and_nothing_changes(model, change, message):
    state = images(model)
    change(state)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        inflate(model, state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_keys_with_a_prefix_are_refused_with_a_hint(model):
    state = {f"module.{name}": value for name, value in images(model).items()}
    with pytest.raises(CheckpointError, match=r"not the weights of a 2D r50.*and \d+ more.*torchvision's names"):
        inflate(model, state)
