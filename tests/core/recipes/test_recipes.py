"""Recipes are whole configurations, and overrides do to them what a user means."""

from dataclasses import replace
from typing import Any

import pytest

from tdpn_core import recipes
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.config.schema import DataConfig
from tdpn_core.datasets import DATASETS
from tdpn_core.errors import ConfigError, UsageError
from tdpn_core.recipes.auto_recipe import Facts
from tdpn_core.training.optim import learning_rate

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


@pytest.mark.parametrize("name", ["kinetics400", "something-v1", "something-v2", "epic55", "epic100"])
def test_the_papers_data_sets_share_the_reference_rate_and_schedule_form(name: str) -> None:
    train = recipes.find(name)(DATA, recipes.NOTHING_KNOWN).train
    assert train.lr / train.batch_size == pytest.approx(1.5625e-4)
    assert train.schedule == "step"
    assert all(0 < milestone < train.epochs for milestone in train.milestones)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("kinetics400", "kinetics400"),
        ("something-v1", "something-v1"),
        ("something-v2", "something-v2"),
        ("epic100", "epic100"),
        ("epic55", "epic55"),
        ("folder", "finetune"),
        ("ucf101", "finetune"),
    ],
)
def test_the_recipe_follows_the_data_set(dataset: str, expected: str) -> None:
    assert dataset in DATASETS, "as it is named where it is prepared"
    assert recipes.choose(replace(DATA, dataset=dataset)) == expected


def test_every_data_set_has_a_recipe_that_exists() -> None:
    assert {spec.recipe for spec in DATASETS.values()} <= set(recipes.RECIPES)


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no recipe 'kinetic'.*kinetics400, .*small"):
        recipes.find("kinetic")


def test_a_changed_batch_scales_the_rate_unless_one_is_given() -> None:
    config = recipes.kinetics400(DATA)
    assert recipes.adjust(config, TrainOverrides(batch_size=8)).train.lr == pytest.approx(0.01 / 8)
    assert recipes.adjust(config, TrainOverrides(batch_size=8, lr=0.3)).train.lr == 0.3


@pytest.mark.parametrize(
    ("recipe", "asked", "lr"),
    [
        ("kinetics400", {"settings": {"train.batch_size": "8"}}, 0.00125),
        ("kinetics400", {"settings": {"train.batch_size": "8", "train.lr": "0.5"}}, 0.5),
        ("kinetics400", {"batch_size": 128}, 0.02),
        ("small", {"batch_size": 64}, 0.004),
        ("small", {"settings": {"train.batch_size": "4"}}, 0.001),
        ("small", {"settings": {"train.optimiser": "sgd"}}, 0.0025),
        ("kinetics400", {"settings": {"train.optimiser": "adamw"}}, 0.004),
    ],
)
def test_adjust_changed_batch_or_optimiser_gives_the_rate_of_the_optimisers_rule(
    recipe: str, asked: dict[str, Any], lr: float
) -> None:
    assert recipes.adjust(
        recipes.find(recipe)(DATA, recipes.NOTHING_KNOWN), TrainOverrides(**asked)
    ).train.lr == pytest.approx(lr)


def test_adjust_another_optimiser_has_its_own_weight_decay_unless_given() -> None:
    small = recipes.small(DATA)
    assert recipes.adjust(small, TrainOverrides(settings={"train.optimiser": "sgd"})).train.weight_decay == 1e-4
    asked = {"train.optimiser": "sgd", "train.weight_decay": "0.1"}
    assert recipes.adjust(small, TrainOverrides(settings=asked)).train.weight_decay == 0.1


@pytest.mark.parametrize(
    ("epochs", "milestones"), [(240, (170, 210)), (12, (8.5, 10.5)), (5, (3.542, 4.375)), (1, (0.708, 0.875))]
)
@pytest.mark.parametrize("by_name", [True, False])
def test_adjust_changed_epochs_keep_the_milestones_share_of_the_run(
    epochs: int, milestones: tuple[float, ...], by_name: bool
) -> None:
    asked = {"settings": {"train.epochs": str(epochs)}} if by_name else {"epochs": epochs}
    train = recipes.adjust(recipes.kinetics400(DATA), TrainOverrides(**asked)).train  # type: ignore[arg-type]
    assert train.milestones == pytest.approx(milestones)
    rates = {learning_rate(train, (step + 0.5) / 100 * epochs) for step in range(100)}
    assert sorted(rates) == pytest.approx([1e-4, 1e-3, 1e-2])


@pytest.mark.parametrize(("epochs", "warmup"), [(30, 2), (300, 2), (4, 1), (1, 0.25)])
def test_adjust_changed_epochs_cut_the_warm_up_to_a_quarter(epochs: int, warmup: float) -> None:
    assert recipes.adjust(recipes.small(DATA), TrainOverrides(epochs=epochs)).train.warmup_epochs == warmup


@pytest.mark.parametrize("milestones", ["3,5", "4,3", "0,3"])
def test_adjust_milestones_outside_the_run_or_falling_are_refused(milestones: str) -> None:
    with pytest.raises(ConfigError, match="milestones must rise between 0 and the 5 epochs"):
        recipes.adjust(recipes.kinetics400(DATA), TrainOverrides(epochs=5, settings={"train.milestones": milestones}))


def test_describe_rate_has_three_significant_digits() -> None:
    train = replace(recipes.small(DATA).train, optimiser="adamw", lr=0.00141421, batch_size=8)
    assert recipes.describe_rate(train).startswith("lr 0.00141 (0.002 at batch 16, ")


def test_configure_cuts_a_recipes_batch_to_the_clips_and_says_so() -> None:
    config, notes = recipes.configure("kinetics400", DATA, Facts(per_class=(2,) * 12))
    assert (config.train.batch_size, config.train.lr) == (24, pytest.approx(0.00375))
    assert "batch 24, all training clips: instead of the recipe's 64" in notes
    assert any(note.startswith("lr 0.00375 (0.01 at batch 64, linear in the batch)") for note in notes)


@pytest.mark.parametrize("asked", [{"batch_size": 1000}, {"settings": {"train.batch_size": "1000"}}])
@pytest.mark.parametrize("recipe", ["finetune", "small", "kinetics400"])
def test_configure_batch_larger_than_the_clips_is_refused(recipe: str, asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"a batch of 1000 clips is larger than the training set, 64 clips"):
        recipes.configure(recipe, DATA, Facts(per_class=(32, 32)), TrainOverrides(**asked))


@pytest.mark.parametrize("recipe", ["finetune", "small"])
@pytest.mark.parametrize(("aspect", "short_side"), [(16 / 9, 112), (1.0, 135)])
def test_configure_test_views_have_the_scale_of_the_training_crops(recipe: str, aspect: float, short_side: int) -> None:
    config, _ = recipes.configure(recipe, DATA, Facts(per_class=(50, 50), aspect=aspect))
    sampling = config.sampling
    assert (sampling.views, sampling.side_crops, config.model.input_size) == ("1x1", "input", 112)
    assert sampling.short_side == pytest.approx(short_side, abs=2)
    larger, _ = recipes.configure(recipe, DATA, Facts(per_class=(50, 50), aspect=aspect), TrainOverrides(size=224))
    assert larger.sampling.short_side == pytest.approx(2 * short_side, abs=3)
    whole = {"sampling.crop_area": "1,1", "sampling.crop_ratio": "1,1"}
    unzoomed, _ = recipes.configure(
        recipe, DATA, Facts(per_class=(50, 50), aspect=aspect), TrainOverrides(settings=whole)
    )
    assert unzoomed.sampling.short_side == 112


def test_a_changed_size_keeps_the_margin_around_the_crop() -> None:
    config = recipes.adjust(recipes.kinetics400(DATA), TrainOverrides(size=112))
    assert (config.model.input_size, config.sampling.short_side) == (112, 128)


def test_adjusting_a_run_to_what_it_already_is_changes_nothing() -> None:
    asked = {"arch": "r18", "frames": 4, "interval": 2, "size": 64, "epochs": 7, "batch_size": 4, "lr": 0.1, "seed": 3}
    once = recipes.adjust(recipes.kinetics400(DATA), TrainOverrides(**asked))
    assert recipes.adjust(once, TrainOverrides(**asked)) == once


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
        ("model.flows", "parallel", "no setting 'model.flows'.*did you mean model.flow?"),
        ("flow", "parallel", "no setting 'flow'"),
        ("data.path", "elsewhere", "no setting 'data.path'"),
        ("model.flow", "sideways", "^model.flow: .*, not 'sideways'"),
        ("train.lr", "fast", "^train.lr: .*, not 'fast'"),
    ],
)
def test_a_setting_that_is_not_there_or_not_allowed_is_named(setting: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipes.set_fields(recipes.kinetics400(DATA), {setting: value})
