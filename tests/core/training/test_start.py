"""The weights that a run starts from are a setting, found before training begins, and recorded."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch

from tdpn_core import recipes
from tdpn_core.bench.subject import choose_subject
from tdpn_core.checkpoint import load_checkpoint
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.config.schema import DataConfig, RunConfig, StartConfig
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.errors import CheckpointError
from tdpn_core.progress import Silent
from tdpn_core.recipes.auto_recipe import Facts
from tdpn_core.training.launch import train
from tdpn_core.training.start import describe_start, find_start

DATA = DataConfig(
    path="data/x", dataset="folder", classes={"action": ["a", "b"]}, classes_digest="c", digest="d", short_side=256
)


class Lines(Silent):
    """Remembers what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


@pytest.fixture(autouse=True)
def _no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TDPN_OFFLINE", "1")
    monkeypatch.setenv("TDPN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def paper(**model: object) -> RunConfig:
    overrides = TrainOverrides(settings={f"model.{name}": str(value) for name, value in model.items()})
    return recipes.adjust(recipes.kinetics400(DATA), overrides)


@pytest.mark.parametrize(
    ("recipe", "start"),
    [
        ("kinetics400", "imagenet"),
        ("something-v1", "imagenet"),
        ("something-v2", "imagenet"),
        ("epic100", "imagenet"),
        ("epic55", "imagenet"),
        ("small", "none"),
    ],
)
def test_recipes_of_the_paper_start_from_imagenet(recipe: str, start: str) -> None:
    assert recipes.find(recipe)(DATA, Facts()).train.init == start


def test_a_start_from_nothing_is_reported_with_what_it_costs() -> None:
    config, notes = recipes.configure("kinetics400", DATA, Facts(), TrainOverrides(init="none"))
    assert config.train.init == "none"
    assert any("mmaction2 reports 74.20 top-1 without it and 76.74 with it" in note for note in notes)
    assert not any("mmaction2" in note for note in recipes.configure("kinetics400", DATA, Facts()).notes)


def test_weights_that_are_not_there_stop_the_run_with_file_and_command() -> None:
    message = r"resnet101-63fe2227\.pth: resnet101-imagenet \(about 178 MB\): .* put it at .*--init none starts from"
    with pytest.raises(CheckpointError, match=message):
        find_start(paper(arch="r101"))
    with pytest.raises(CheckpointError, match=r"no such checkpoint or run; .*--init none"):
        find_start(recipes.adjust(paper(), TrainOverrides(init="gone.pth")))


@pytest.mark.parametrize(
    ("model", "what"),
    [
        ({"width": 0.5}, "a network of width 0.5"),
        ({"name": "i3d"}, "i3d inception"),
        ({"name": "r2plus1d", "arch": "r18"}, "r2plus1d r18"),
    ],
)
def test_a_recipes_start_that_cannot_fit_is_left_out_with_a_line(model: dict[str, object], what: str) -> None:
    lines = Lines()
    config, path = find_start(paper(**model), asked=False, progress=lines)
    assert (config.train.init, config.start, path) == ("none", StartConfig(), None)
    assert lines.said == [f"no ImageNet weights fit {what}: random initial weights"]
    assert describe_start(config) == "random initial weights"


def test_a_start_that_the_user_asked_for_is_not_left_out() -> None:
    with pytest.raises(CheckpointError, match="no ImageNet weights for inception"):
        find_start(paper(name="i3d"), asked=True)


def test_a_run_records_its_start_in_settings_checkpoint_and_first_line(
    prepared: Path, fresh: Path, tiny: dict[str, str], tmp_path: Path
) -> None:
    lines, folder = Lines(), tmp_path / "run"
    settings = {**tiny, "train.epochs": "1"}
    overrides = TrainOverrides(init=str(fresh), settings=settings)
    train(data=prepared, out=folder, recipe="small", gpus=0, workers=0, overrides=overrides, progress=lines)
    digest = hashlib.sha256(fresh.read_bytes()).hexdigest()
    stored = json.loads((folder / "config.json").read_text())
    assert (stored["train"]["init"], stored["start"]) == (str(fresh), {"name": str(fresh), "sha256": digest})
    assert load_checkpoint(folder / "best.pt").config.start == StartConfig(name=str(fresh), sha256=digest)
    (first,) = (line for line in lines.said if line.startswith("tdpn r18"))
    assert f"; from {fresh} ({digest[:8]}); " in first
    assert any(line.startswith(f"initialised from {fresh}: ") for line in lines.said)


def test_a_run_whose_start_is_missing_does_not_begin(prepared: Path, tiny: dict[str, str], tmp_path: Path) -> None:
    overrides = TrainOverrides(init="tsm-r50-8-k400", settings=tiny)
    with pytest.raises(CheckpointError, match="tsm-r50-8-k400"):
        train(data=prepared, out=tmp_path / "run", recipe="small", gpus=0, workers=0, overrides=overrides)
    assert not (tmp_path / "run").exists()


def test_bench_measures_the_network_from_these_weights(fresh: Path, fresh_config: RunConfig) -> None:
    runtime = Runtime(torch.device("cpu"))
    settings = {"model.width": "0.125", "model.num_frames": "2", "model.input_size": "32"}
    overrides = TrainOverrides(arch="r18", init=str(fresh), settings=settings)
    network = choose_subject(batch=1, runtime=runtime, overrides=overrides).build()
    stored = load_checkpoint(fresh).weights["backbone.conv1.weight"]
    assert torch.equal(network.state_dict()["backbone.conv1.weight"], stored)
    plain = choose_subject(batch=1, runtime=runtime, overrides=dataclasses.replace(overrides, init=None))
    assert (plain.start, plain.config.train.init) == (None, "none")
