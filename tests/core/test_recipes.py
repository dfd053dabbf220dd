"""Recipes are whole configurations, and adjustments do to them what a user means."""

from dataclasses import replace

import pytest

from tdpn_core import recipes
from tdpn_core.config import DataConfig
from tdpn_core.datasets import DATASETS
from tdpn_core.errors import ConfigError, UsageError
from tdpn_core.evaluate.report.published import NAMES
from tdpn_core.weights.facts import ORDERS

DATA = DataConfig(
    path="data/x",
    dataset="folder",
    classes={"action": [f"class {number}" for number in range(12)]},
    classes_digest="c",
    digest="d",
    short_side=256,
)


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_takes_its_classes_from_the_data(name: str) -> None:
    config = recipes.find(name)(DATA, recipes.NOTHING_KNOWN)
    assert config.recipe == name
    assert config.model.num_classes == {"action": 12}
    assert config.data is DATA


@pytest.mark.parametrize(
    "name", ["kinetics400", "something-something-v1", "something-something-v2", "epic-55", "epic-100"]
)
def test_the_papers_data_sets_share_the_reference_rate_and_schedule_form(name: str) -> None:
    train = recipes.find(name)(DATA, recipes.NOTHING_KNOWN).train
    assert train.lr / train.batch_size == pytest.approx(1.5625e-4)
    assert train.schedule == "step"
    assert all(0 < milestone < train.epochs for milestone in train.milestones)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("kinetics400", "kinetics400"),
        ("something-v1", "something-something-v1"),
        ("something-v2", "something-something-v2"),
        ("epic100", "epic-100"),
        ("epic55", "epic-55"),
        ("folder", "finetune"),
        ("ucf101", "finetune"),
    ],
)
def test_the_recipe_follows_the_data_set(dataset: str, expected: str) -> None:
    assert dataset in DATASETS, "as it is named where it is prepared"
    assert recipes.choose(replace(DATA, dataset=dataset)) == expected


def test_data_sets_are_named_alike_wherever_something_is_known_of_them() -> None:
    assert {*recipes.OWN_RECIPES, *ORDERS, *NAMES} <= set(DATASETS)
    assert set(recipes.OWN_RECIPES.values()) <= set(recipes.RECIPES)


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no recipe 'kinetic'.*kinetics400, .*small"):
        recipes.find("kinetic")


def test_a_changed_batch_scales_the_rate_unless_one_is_given() -> None:
    config = recipes.kinetics400(DATA)
    assert recipes.adjust(config, batch_size=8).train.lr == pytest.approx(0.01 / 8)
    assert recipes.adjust(config, batch_size=8, lr=0.3).train.lr == 0.3


def test_changed_epochs_move_the_milestones_and_shorten_the_warm_up() -> None:
    assert recipes.adjust(recipes.kinetics400(DATA), epochs=12).train.milestones == (8, 10)
    assert recipes.adjust(recipes.small(DATA), epochs=4).train.warmup_epochs == 1


def test_a_changed_size_keeps_the_margin_around_the_crop() -> None:
    config = recipes.adjust(recipes.kinetics400(DATA), size=112)
    assert (config.model.input_size, config.sampling.short_side) == (112, 128)


def test_adjusting_a_run_to_what_it_already_is_changes_nothing() -> None:
    asked = {"arch": "r18", "frames": 4, "interval": 2, "size": 64, "epochs": 7, "batch_size": 4, "lr": 0.1, "seed": 3}
    once = recipes.adjust(recipes.kinetics400(DATA), **asked)
    assert recipes.adjust(once, **asked) == once


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("model.flow", "parallel", "parallel"),
        ("model.temporal", "none, none,local,local", ("none", "none", "local", "local")),
        ("model.temporal_kernels", "1,1,1,1", (1, 1, 1, 1)),
        ("model.attention", "false", False),
        ("model.window", "1", 1),
        ("model.temporal_rates", "8,8,4,4", (8, 8, 4, 4)),
        ("train.weight_decay", "5e-4", 5e-4),
        ("sampling.crop_area", "0.5,1", (0.5, 1.0)),
    ],
)
def test_any_setting_is_reachable_by_its_name(setting: str, value: str, expected: object) -> None:
    config = recipes.set_fields(recipes.kinetics400(DATA), {setting: value})
    section, _, field = setting.partition(".")
    assert getattr(getattr(config, section), field) == expected


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("model.flows", "parallel", "no setting 'model.flows'"),
        ("flow", "parallel", "no setting 'flow'"),
        ("data.path", "elsewhere", "no setting 'data.path'"),
        ("model.flow", "sideways", "^model.flow: .*, not 'sideways'"),
        ("train.lr", "fast", "^train.lr: .*, not 'fast'"),
    ],
)
def test_a_setting_that_is_not_there_or_not_allowed_is_named(setting: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipes.set_fields(recipes.kinetics400(DATA), {setting: value})
