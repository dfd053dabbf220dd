"""Networks that start from images, from single frames, and from other video networks."""

import dataclasses
import re

import pytest
import torch

from tdpn_core.checkpoint import Checkpoint, TrainingState, save_checkpoint
from tdpn_core.config.schema import DataConfig, RunConfig, SamplingConfig, TrainConfig
from tdpn_core.errors import CheckpointError
from tdpn_core.model.registry import create_model
from tdpn_core.shards import load_manifest
from tdpn_core.shards.manifest import classes_digest
from tdpn_core.training.checkpoints import initialise
from tdpn_core.weights.names import match_classes
from tdpn_core.weights.transfer import fitted, transfer

SMALL = {"arch": "r50", "width": 0.25, "num_classes": 3, "num_frames": 2, "input_size": 64}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def of_images(**options):
    """The state of a 2D ResNet of random values, under our names."""
    chosen = {**SMALL, "num_classes": 10, **options, "num_frames": 1}
    state = create_model("tsn", **chosen).state_dict()
    return {name: torch.randn(value.shape) if value.ndim else torch.tensor(7) for name, value in state.items()}


@pytest.fixture
def model():
    return create_model("tdpn", **SMALL)


NAMES = ["jump", "run", "sit"]


def start(model, weights, **options):
    return transfer(model, weights, "a file", **{"known": {"action": NAMES}, "wanted": {"action": NAMES}, **options})


# images into clips


def test_kernels_are_copied_over_time_and_divided(model):
    state = of_images()
    start(model, state, images=True)
    filled = model.state_dict()
    for time, name in ((1, "conv1.weight"), (1, "layer1.0.conv2.weight"), (3, "layer4.1.conv1.weight")):
        name = f"backbone.{name}"
        assert filled[name].shape[2] == time
        for t in range(time):
            torch.testing.assert_close(filled[name][:, :, t], state[name][:, :, 0] / time)
    for name in ("bn1.weight", "layer2.0.bn3.bias", "layer3.5.bn1.running_mean", "layer4.0.downsample.1.running_var"):
        assert torch.equal(filled[f"backbone.{name}"], state[f"backbone.{name}"])


def test_a_still_clip_goes_through_inflated_convolutions_as_its_frame_does(model):
    """Away from the ends of time, where the padding is."""
    state = of_images()
    start(model, state, images=True)
    conv = model.backbone.layer3[0].conv1
    frame = torch.randn(1, 128, 4, 4)
    clip = frame.unsqueeze(2).expand(-1, -1, 5, -1, -1)
    expected = torch.nn.functional.conv2d(frame, state["backbone.layer3.0.conv1.weight"].squeeze(2))
    torch.testing.assert_close(conv(clip)[:, :, 2], expected, rtol=1e-4, atol=1e-3)


def test_the_local_module_starts_from_the_stem_and_res2(model):
    state = of_images()
    report = start(model, state, images=True)
    local = model.temporal_difference.local.state_dict()
    mean = state["backbone.conv1.weight"].mean(1)
    for channel in range(12):
        torch.testing.assert_close(local["conv1.weight"][:, channel], mean)
    assert torch.equal(local["layer1.2.conv2.weight"], state["backbone.layer1.2.conv2.weight"])
    assert torch.equal(
        local["layer1.0.downsample.1.running_mean"], state["backbone.layer1.0.downsample.1.running_mean"]
    )
    assert torch.equal(local["bn1.running_mean"], torch.zeros(32))
    assert "temporal_difference.local.bn1.weight" in report.unfilled


def test_every_entry_of_both_sides_is_accounted_for(model):
    state = of_images()
    report = start(model, state, images=True)
    assert set(report.filled) | set(report.unfilled) == set(model.state_dict())
    assert not set(report.filled) & set(report.unfilled)
    assert set(report.filled.values()) | set(report.left_out) == set(state)
    assert not set(report.filled.values()) & set(report.left_out)
    assert report.left_out["head.linear.action.bias"] == "the image classifier"
    assert report.left_out["backbone.layer4.2.conv2.weight"] == "replaced by attention"
    assert "attention" in report.left_out["backbone.layer4.0.bn3.running_var"]
    assert {"backbone.layer4.1.conv2.qkv.weight", "backbone.layer4.1.bn3.weight"} <= set(report.unfilled)


def test_attention_still_starts_as_nothing_after_inflation(model):
    start(model, of_images(), images=True)
    assert all(torch.equal(block.bn3.weight, torch.zeros(512)) for block in model.backbone.layer4)


FAMILIES = {
    "slowonly": (),
    "c2d": (),
    "tsm": (),
    "tpn": (),
    "tsm+tdpn": (),
    "tdn": ("difference", "shift", "motion.bn1"),
    "slowfast": ("fast.", "lateral.", "layer1.0.conv1", "layer2.0.", "layer3.0.", "layer4.0.", "layer1.0.downsample"),
    "r2plus1d": ("conv2.time", "conv2.bn"),
}
"""Families, and the parts of the backbone that no image network has."""


@pytest.mark.parametrize("name", FAMILIES)
def test_images_start_every_family(name):
    network = create_model(name, **{**SMALL, "num_frames": 8})
    report = start(network, of_images(), images=True)
    unfilled = [entry for entry in report.unfilled if entry.startswith("backbone.") and "num_batches" not in entry]
    assert all(any(part in entry for part in FAMILIES[name]) for entry in unfilled)
    assert set(report.filled) | set(report.unfilled) == set(network.state_dict())


@pytest.mark.parametrize(("name", "channels"), [("tsn", 10), ("tsm", 10)])
def test_a_flow_network_averages_the_first_convolution_over_rgb_and_repeats_it(name, channels):
    network = create_model(name, **SMALL, modality="flow")
    state = of_images()
    start(network, state, images=True)
    first = network.state_dict()["backbone.conv1.weight"]
    assert first.shape[1] == channels
    for channel in range(channels):
        torch.testing.assert_close(first[:, channel], state["backbone.conv1.weight"].mean(1))


def test_kernels_over_time_are_not_deflated():
    assert fitted(torch.ones(4, 4, 3, 1, 1), torch.Size((4, 4, 1, 1, 1))) is None
    assert fitted(torch.ones(4, 3, 1, 1, 1), torch.Size((4, 2, 1, 1, 1))) is None
    assert torch.equal(
        fitted(torch.ones(4, 3, 1, 1, 1), torch.Size((4, 2, 1, 1, 1)), stem=True), torch.ones(4, 2, 1, 1, 1)
    )


# video networks into video networks


def test_tpn_starts_tdpn_with_its_backbone_and_what_fits_of_its_neck(model):
    tpn = create_model("tpn", **SMALL)
    with torch.no_grad():
        for value in tpn.state_dict().values():
            value.copy_(torch.randn(value.shape) if value.is_floating_point() else torch.tensor(3))
    report = start(model, tpn.state_dict())
    filled = model.state_dict()
    for name in (
        "backbone.layer3.0.conv1.weight",
        "pyramid.spatial.res4.0.conv.weight",
        "pyramid.temporal.res5.weight",
        "pyramid.fusion.top_down.levels.res4.conv.weight",
        "pyramid.bottom_up.res4.weight",
        "pyramid.pyramid_fusion.conv.weight",
        "head.linear.action.weight",
        "auxiliary_head.head.linear.action.weight",
    ):
        assert torch.equal(filled[name], tpn.state_dict()[name]), name
    assert report.left_out["pyramid.fusion.top_down.project.conv.weight"] == "of another shape in this network"
    assert {"pyramid.spatial.res2.0.conv.weight", "backbone.layer4.0.conv2.qkv.weight"} <= set(report.unfilled)
    text = str(report)
    assert "initialised from a file: " in text
    assert "replaced by attention" in text
    assert "not in the file, initialised at random: backbone.layer4, temporal_difference.on_global" in text


# classes by name


def slow(classes=3):
    return create_model("slowonly", **{**SMALL, "num_classes": classes})


def test_classes_in_another_order_keep_their_scores():
    source, target = slow().eval(), slow().eval()
    report = start(target, source.state_dict(), wanted={"action": ["sit", "jump", "run"]})
    clip = torch.rand(1, 3, 2, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(target(clip), source(clip)[:, [2, 0, 1]])
    assert "action: 3 of 3 classes matched by name, in another order" in str(report)


def test_classes_that_the_file_lacks_start_new_and_the_others_keep_their_rows():
    source, target = slow(), slow(4)
    fresh = target.head.linear["action"].weight.clone()
    report = start(target, source.state_dict(), wanted={"action": ["walk", "Sit", "swim", "run"]})
    rows, theirs = target.head.linear["action"].weight, source.head.linear["action"].weight
    assert torch.equal(rows[[1, 3]], theirs[[2, 1]])
    assert torch.equal(rows[[0, 2]], fresh[[0, 2]])
    assert torch.equal(target.head.linear["action"].bias[[1, 3]], source.head.linear["action"].bias[[2, 1]])
    assert "action: 2 of 4 classes matched by name, 2 start untrained" in str(report)


def test_a_classifier_without_a_class_in_common_starts_new():
    target = slow()
    fresh = target.head.linear["action"].weight.clone()
    report = start(target, slow().state_dict(), wanted={"action": ["a", "b", "c"]})
    assert torch.equal(target.head.linear["action"].weight, fresh)
    names = ("head.linear.action.weight", "head.linear.action.bias")
    assert report.left_out == dict.fromkeys(names, "a classifier of other classes")
    assert "action: 0 of 3 classes matched by name, 3 start untrained" in str(report)


def test_a_classifier_whose_classes_have_no_names_starts_new():
    target = slow()
    fresh = target.head.linear["action"].weight.clone()
    report = start(target, slow().state_dict(), known={})
    assert torch.equal(target.head.linear["action"].weight, fresh)
    assert "action: the file does not name its classes; all 3 start untrained" in str(report)


def test_every_head_is_matched_by_its_own_names():
    counts = {"verb": 2, "noun": 3}
    source, target = slow(counts).eval(), slow(counts).eval()
    known = {"verb": ["cut", "wash"], "noun": ["cup", "egg", "pan"]}
    wanted = {"verb": ["wash", "cut"], "noun": ["pan", "cup", "egg"]}
    start(target, source.state_dict(), known=known, wanted=wanted)
    clip = torch.rand(1, 3, 2, 64, 64)
    with torch.inference_mode():
        ours, theirs = target(clip), source(clip)
    torch.testing.assert_close(ours["verb"], theirs["verb"][:, [1, 0]])
    torch.testing.assert_close(ours["noun"], theirs["noun"][:, [2, 0, 1]])


def test_the_auxiliary_head_follows_the_order_too():
    source, target = create_model("tpn", **SMALL), create_model("tpn", **SMALL)
    start(target, source.state_dict(), wanted={"action": ["sit", "jump", "run"]})
    rows = [model.state_dict()["auxiliary_head.head.linear.action.weight"] for model in (target, source)]
    assert torch.equal(rows[0], rows[1][[2, 0, 1]])


@pytest.mark.parametrize(
    ("theirs", "ours", "rows"),
    [
        (["a_b", "c"], ["A b", "c"], {0: 0, 1: 1}),
        (["Cut", "cut"], ["cut", "x"], {0: 1}),
        (["Cut", "CUT"], ["cut", "x"], {}),
        (["a", "a"], ["a", "b"], {}),
    ],
)
def test_names_match_exactly_first_then_by_spelling_and_never_in_doubt(theirs, ours, rows):
    match = match_classes(theirs, ours)
    assert dict(zip(match.ours, match.theirs, strict=True)) == rows


def test_our_own_checkpoint_starts_a_run_on_data_of_another_order(prepared, tmp_path):
    manifest = load_manifest(prepared)
    names = manifest.classes["action"]
    source, target = slow(len(names)).eval(), slow(len(names)).eval()
    turned = {"action": names[::-1]}
    config = RunConfig(
        recipe="finetune",
        model=source.config,
        sampling=SamplingConfig(),
        train=TrainConfig(),
        data=DataConfig(
            path="",
            dataset="folder",
            classes=turned,
            classes_digest=classes_digest(turned),
            digest="",
            short_side=40,
            encoding={},
        ),
    )
    whole = Checkpoint(config=config, state=TrainingState(), weights=source.state_dict(), optimiser={})
    save_checkpoint(tmp_path / "best.pt", whole)
    initialise(target, tmp_path / "best.pt", manifest)
    clip = torch.rand(1, 3, 2, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(target(clip), source(clip).flip(1))


@pytest.mark.parametrize(("order", "taken"), [("sorted", True), ("file", False)])
def test_a_foreign_classifier_is_taken_where_every_project_has_the_datas_order(write, prepared, order, taken):
    manifest = dataclasses.replace(load_manifest(prepared), dataset="kinetics400", label_order=order)
    source = create_model("slowonly", arch="r18", num_classes=8)
    target = create_model("slowonly", arch="r18", num_classes=8)
    path = write({"state_dict": {mmaction2(name): value for name, value in source.state_dict().items()}})
    report = initialise(target, path, manifest)
    assert torch.equal(target.head.linear["action"].weight, source.head.linear["action"].weight) == taken
    assert ("8 of 8 classes matched by name" in str(report)) == taken


def test_a_foreign_file_with_names_is_matched_by_them(write, prepared):
    manifest = load_manifest(prepared)
    names = manifest.classes["action"]
    source = create_model("slowonly", arch="r18", num_classes=8)
    target = create_model("slowonly", arch="r18", num_classes=8)
    state = {mmaction2(name): value for name, value in source.state_dict().items()}
    report = initialise(target, write({"meta": {"CLASSES": names[::-1]}, "state_dict": state}), manifest)
    rows = target.head.linear["action"].weight
    assert torch.equal(rows, source.head.linear["action"].weight.flip(0))
    assert "8 of 8 classes matched by name, in another order" in str(report)


def mmaction2(name):
    """Our entry of a SlowOnly under mmaction2's name."""
    for pattern, new in (
        (r"head\.linear\.action\.", "cls_head.fc_cls."),
        (r"backbone\.conv1\.", "backbone.conv1.conv."),
        (r"backbone\.bn1\.", "backbone.conv1.bn."),
        (r"backbone\.(layer\d\.\d+)\.conv(\d)\.", r"backbone.\1.conv\2.conv."),
        (r"backbone\.(layer\d\.\d+)\.bn(\d)\.", r"backbone.\1.conv\2.bn."),
        (r"backbone\.(layer\d\.\d+)\.downsample\.0\.", r"backbone.\1.downsample.conv."),
        (r"backbone\.(layer\d\.\d+)\.downsample\.1\.", r"backbone.\1.downsample.bn."),
    ):
        if re.match(pattern, name):
            return re.sub(pattern, new, name, count=1)
    return name


def test_a_file_of_which_nothing_fits_is_refused_and_nothing_changes(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = {name: torch.ones(7) for name in of_images()}
    with pytest.raises(CheckpointError, match=r"a file: none of its weights fit this network's backbone.*of width 1"):
        start(model, state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# files


def test_a_file_of_torchvisions_names_starts_a_network(parity, write):
    known = parity("torchvision_resnet18").state
    network = create_model("tdpn", arch="r18", num_classes=3, num_frames=2, attention=False)
    report = initialise(network, write(known))
    assert set(report.left_out) == {"fc.weight", "fc.bias"}
    assert torch.equal(network.backbone.layer1[0].conv1.weight[:, :, 0], known["layer1.0.conv1.weight"])
    assert report.filled["backbone.layer1.0.conv1.weight"] == "layer1.0.conv1.weight"
    assert "torchvision's tsn r18" in str(report)


def test_a_file_of_another_depth_or_without_entries_is_refused(parity, write):
    known = parity("torchvision_resnet18").state
    deep = create_model("tsn", arch="r34", num_classes=3)
    with pytest.raises(CheckpointError, match=r"a r18 cannot initialise a r34.*same depth"):
        initialise(deep, write(known))
    kept = {name: value for name, value in known.items() if name != "layer2.0.bn1.bias"}
    with pytest.raises(CheckpointError, match=r"its backbone lacks backbone\.layer2\.0\.bn1\.bias"):
        initialise(create_model("tsn", arch="r18", num_classes=3), write(kept))


def test_a_narrow_network_cannot_start_from_a_published_one(parity, write):
    narrow = create_model("tsn", arch="r18", num_classes=3, width=0.5)
    with pytest.raises(CheckpointError, match=r"initialise a network of width 0\.5; .*of width 1"):
        initialise(narrow, write(parity("torchvision_resnet18").state))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.pth: no such checkpoint"):
        initialise(create_model("tsn", **SMALL), tmp_path / "gone.pth")
