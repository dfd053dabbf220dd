"""Another project's checkpoint is scored and predicts, with that project's pixels and classes known for certain."""

import dataclasses
import re

import numpy as np
import pytest
import torch

import tdpn_core
from tdpn_core.checkpoint import Checkpoint, TrainingState, save_checkpoint
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.distributed.runtime import set_up
from tdpn_core.errors import CheckpointError, UsageError
from tdpn_core.evaluation.evaluate import evaluate_files
from tdpn_core.evaluation.options import ScoreOptions
from tdpn_core.model.registry import create_model
from tdpn_core.prediction import PredictOptions
from tdpn_core.prediction.predict import predict
from tdpn_core.progress import Progress
from tdpn_core.shards import load_manifest
from tdpn_core.training.launch import plan
from tdpn_core.weights import convert as importing
from tdpn_core.weights import open_checkpoint as adopt
from tdpn_core.weights.open_checkpoint import open_checkpoint
from tdpn_core.weights.projects import PROJECTS
from tdpn_core.weights.projects.torchvision import TORCHVISION
from tdpn_core.weights.protocol import SYMMETRIC

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def names(prepared):
    return load_manifest(prepared).classes["action"]


@pytest.fixture(scope="module")
def state(parity, names):
    """torchvision's ResNet-18 with as many classes as the prepared clips have."""
    known = parity("torchvision_resnet18").state
    return known | {name: known[name][: len(names)] for name in ("fc.weight", "fc.bias")}


@pytest.fixture
def listed(tmp_path):
    def write(names):
        (tmp_path / "classes.txt").write_text("\n".join(names) + "\n")
        return tmp_path / "classes.txt"

    return write


@pytest.mark.parametrize(
    ("project", "family", "modality", "expected"),
    [
        ("mmaction2", "slowfast", "rgb", ("dense", 2, "10x3", 0.485)),
        ("mmaction2", "tsn", "rgb", ("segments", 1, "1x10", 0.485)),
        ("decisionforce/TPN", "tsm+tpn", "rgb", ("segments", 1, "2x3", 0.485)),
        ("pytorchvideo", "r2plus1d", "rgb", ("dense", 4, "10x3", 0.45)),
        ("pytorch-i3d", "i3d", "flow", ("dense", 1, "1x1", 0.5)),
        ("mit-han-lab/temporal-shift-module", "tsm", "flow", ("segments", 1, "2x3", 0.5)),
    ],
)
def test_sampling_and_pixels_are_the_projects(project, family, modality, expected):
    sampling = next(known for known in PROJECTS if known.name == project).sampling(family, modality)
    assert (sampling.mode, sampling.interval, sampling.views, sampling.mean[0]) == expected


def test_a_checkpoint_is_scored_by_class_names_in_any_order(prepared, state, names, write, listed):
    options = ScoreOptions(data=prepared, workers=0, allow_mismatch=True)
    runtime = set_up(0)

    def score(weights, order):
        chosen = dataclasses.replace(options, classes=listed(order))
        return evaluate_files([write(weights, "other.pth")], runtime=runtime, options=chosen).probabilities["action"]

    own = score(state, names)
    turned = state | {name: state[name].flip(0) for name in ("fc.weight", "fc.bias")}
    np.testing.assert_allclose(score(turned, names[::-1]), own, atol=1e-6)
    assert own.shape == (8, len(names))
    assert abs(score(state, names[::-1]) - own).max() > 1e-3


def test_a_file_that_names_its_classes_predicts(state, names, videos, write):
    path = write({"meta": {"CLASSES": names}, "state_dict": state})
    clip = next(videos.rglob("*.mp4"))
    (result,) = predict([str(clip)], checkpoint=path, runtime=set_up(0), options=PredictOptions(topk=2))
    assert result.error is None
    assert len(result.heads["action"]) == 2
    assert {name for name, _ in result.heads["action"]} <= set(names)


def test_names_that_openmmlabs_newer_files_keep_are_found(state, names, write):
    path = write({"meta": {"dataset_meta": {"classes": tuple(names)}}, "state_dict": state})
    assert open_checkpoint(path).config.data.classes == {"action": names}


def test_unknown_names_are_asked_for(state, write):
    with pytest.raises(CheckpointError, match=r"does not name its 8 classes; give --classes FILE, one name per line"):
        open_checkpoint(write(state))


def test_an_order_in_doubt_is_refused(prepared, state, write):
    with pytest.raises(CheckpointError, match=r"does not contain the order of the 8 classes of folder; give --classes"):
        open_checkpoint(write(state), data=prepared)


def test_another_number_of_classes_is_refused(prepared, parity, write, listed):
    path = write(parity("torchvision_resnet18").state)
    with pytest.raises(CheckpointError, match="has 1000 classes, but folder was prepared with 8"):
        open_checkpoint(path, data=prepared)
    with pytest.raises(UsageError, match=r"classes\.txt: names 2 classes, but the checkpoint has 1000"):
        open_checkpoint(path, classes=listed(["a", "b"]))


@pytest.mark.parametrize(("dataset", "order"), [("kinetics400", "sorted"), ("something-v2", "file")])
def test_a_data_set_in_the_order_of_all_projects_names_the_classes(
    prepared, state, names, write, monkeypatch, dataset, order
):
    manifest = dataclasses.replace(load_manifest(prepared), dataset=dataset, label_order=order)
    monkeypatch.setattr(adopt, "load_manifest", lambda _: manifest)
    config = open_checkpoint(write(state), data=prepared).config
    assert config.data.classes == {"action": names}
    assert config.data.dataset == dataset
    other = dataclasses.replace(manifest, label_order="cleaned")
    monkeypatch.setattr(adopt, "load_manifest", lambda _: other)
    with pytest.raises(CheckpointError, match="order of the"):
        open_checkpoint(write(state), data=prepared)


def test_a_checkpoint_of_ours_opens_as_it_is_and_knows_its_classes(state, names, write, listed, tmp_path):
    config = open_checkpoint(write(state), classes=listed(names)).config
    weights = open_checkpoint(write(state), classes=listed(names)).weights
    save_checkpoint(
        tmp_path / "best.pt", Checkpoint(config=config, state=TrainingState(), weights=weights, optimiser={})
    )
    again = open_checkpoint(tmp_path / "best.pt")
    assert again.config == config
    frame = torch.randn(1, 3, 1, 64, 64)
    with torch.inference_mode():
        own = again.build(CPU, "train")(frame)
        torch.testing.assert_close(tdpn_core.load_model(tmp_path / "best.pt")(frame), own)
    assert all(torch.equal(value, weights[name]) for name, value in again.weights.items())
    with pytest.raises(UsageError, match="--classes: a tdpn checkpoint contains its own classes"):
        open_checkpoint(tmp_path / "best.pt", classes=listed(names))


def test_files_without_counters_can_be_scored(state, names, write, listed):
    plain = {name: value for name, value in state.items() if "num_batches" not in name}
    loaded = open_checkpoint(write(plain), classes=listed(names))
    assert loaded.build(torch.device("cpu")).config.name == "tsn"


def started(prepared, path, recipe=None, **settings):
    """The settings of a run that starts from the file at `path`."""
    overrides = TrainOverrides(init=str(path), settings=settings)
    return plan(prepared, runtime=set_up(0), recipe=recipe, overrides=overrides)


def test_a_run_that_starts_from_it_sees_its_pixels(prepared, parity, write):
    known = parity("torchvision_resnet18").state
    path = write({f"module.base_model.{name}".replace("base_model.fc", "new_fc"): v for name, v in known.items()})
    config = started(prepared, path, "finetune")
    assert config.model.arch == "r18"
    assert config.sampling.mean == (0.485, 0.456, 0.406)
    torch.save({"state_dict": {}}, path)
    assert started(prepared, path).sampling.mean == (0.485, 0.456, 0.406)  # who loads it refuses it


def test_pixels_of_another_project_replace_the_recipes(prepared, write, state, monkeypatch):
    monkeypatch.setattr(importing, "PROJECTS", (dataclasses.replace(TORCHVISION, pixels=SYMMETRIC),))
    assert started(prepared, write(state)).sampling.std == (0.5, 0.5, 0.5)
    own = {"sampling.std": "0.1,0.2,0.3"}
    assert started(prepared, write(state), **own).sampling.std == (0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ({}, (32, 2, "as the project published it")),
        ({"cfg": "DATA:\n  NUM_FRAMES: 64\n  SAMPLING_RATE: 3\n"}, (64, 3, "as its settings say")),
        ({"meta": {"config": "new_length=16,\n new_step=4, new_length=16"}}, (16, 4, "as its settings say")),
        ({"meta": {"cfg": "clip_len=16, frame_interval=4, clip_len=32"}}, (32, 2, "as the project published it")),
    ],
)
def test_frames_are_those_of_the_settings_that_a_file_keeps(write, names, listed, notes, expected):
    network = create_model("slowfast", arch="r18", num_classes=8)
    renamed = {mmaction2_slowfast(name): value for name, value in network.state_dict().items()}
    heard = []
    progress = type("Heard", (Progress,), {"say": lambda _, text: heard.append(text)})()
    path = write({**notes, "state_dict": renamed})
    config = open_checkpoint(path, classes=listed(names), progress=progress).config
    assert (config.model.num_frames, config.sampling.interval) == expected[:2]
    assert f"{expected[0]}x{expected[1]}, {expected[2]}; pixel mean 0.485" in heard[0]


def mmaction2_slowfast(name):
    """Our entry under mmaction2's name (with the normalised laterals that its configurations can have)."""
    for pattern, new in (
        (r"head\.linear\.action\.", "cls_head.fc_cls."),
        (r"backbone\.lateral\.0\.", "backbone.slow_path.conv1_lateral."),
        (r"backbone\.lateral\.(\d)\.", r"backbone.slow_path.layer\1_lateral."),
        (r"backbone\.(slow|fast)\.conv1\.", r"backbone.\1_path.conv1.conv."),
        (r"backbone\.(slow|fast)\.bn1\.", r"backbone.\1_path.conv1.bn."),
        (r"backbone\.(slow|fast)\.(layer\d\.\d+)\.conv(\d)\.", r"backbone.\1_path.\2.conv\3.conv."),
        (r"backbone\.(slow|fast)\.(layer\d\.\d+)\.bn(\d)\.", r"backbone.\1_path.\2.conv\3.bn."),
        (r"backbone\.(slow|fast)\.(layer\d\.\d+)\.downsample\.0\.", r"backbone.\1_path.\2.downsample.conv."),
        (r"backbone\.(slow|fast)\.(layer\d\.\d+)\.downsample\.1\.", r"backbone.\1_path.\2.downsample.bn."),
    ):
        if re.match(pattern, name):
            return re.sub(pattern, new, name, count=1)
    return name
