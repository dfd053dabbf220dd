"""Overrides are one typed object from the command line to the settings that they change."""

import dataclasses
import json
from typing import Any

import pytest

from tdpn_core import recipes
from tdpn_core.config.overrides import PATHS, TrainOverrides
from tdpn_core.config.schema import DataConfig, RunConfig

DATA = DataConfig(
    path="data", dataset="folder", classes={"action": ["a", "b"]}, classes_digest="", digest="", short_side=128
)
VALUES: dict[str, Any] = {
    "model": "tsm",
    "arch": "r34",
    "modality": "rgb",
    "frames": 16,
    "interval": 3,
    "size": 96,
    "init": "resnet50-imagenet-v2",
    "epochs": 7,
    "batch_size": 12,
    "accumulate": 2,
    "lr": 0.25,
    "compile": True,
    "seed": 11,
    "views": "3x3",
}


def value(config: RunConfig, path: str) -> Any:
    section, _, field = path.partition(".")
    return getattr(getattr(config, section), field)


def test_overrides_have_a_setting_for_every_field() -> None:
    assert {field.name for field in dataclasses.fields(TrainOverrides)} == {*PATHS, "settings"}
    assert set(VALUES) == set(PATHS)


@pytest.mark.parametrize("name", PATHS)
def test_override_changes_the_setting_that_its_path_names(name: str) -> None:
    before = recipes.kinetics400(DATA)
    overrides = TrainOverrides(**{name: VALUES[name]})
    after = recipes.adjust(before, overrides)
    assert value(after, PATHS[name]) == VALUES[name]
    assert overrides.asked() == {PATHS[name]}
    assert name == "modality" or value(before, PATHS[name]) != VALUES[name]


def test_overrides_given_survive_json() -> None:
    overrides = TrainOverrides(**VALUES, settings={"train.momentum": "0.5"})
    assert TrainOverrides(**json.loads(json.dumps(overrides.given()))) == overrides
    assert TrainOverrides().given() == {}


def test_overrides_refuse_a_name_that_is_no_option() -> None:
    with pytest.raises(TypeError, match="batchsize"):
        TrainOverrides(batchsize=4)  # type: ignore[call-arg]


def test_override_by_path_goes_before_the_field() -> None:
    both = TrainOverrides(epochs=5, settings={"train.epochs": "9"})
    assert recipes.adjust(recipes.small(DATA), both).train.epochs == 9
