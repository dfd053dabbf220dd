"""Factors, their names, and the grid."""

import re

import pytest

from tdpn_core.ablation.grid import (
    TABLE_IV,
    check_level,
    combinations,
    paper_top1,
    parse_factor,
    setting_path,
    table_iv,
)
from tdpn_core.config.families import model_config
from tdpn_core.errors import UsageError


def test_the_grid_is_every_combination_the_last_factor_turning_fastest() -> None:
    grid = combinations([parse_factor("temporal=none,both"), parse_factor("train.lr=0.1, 0.2")])
    assert [cell.name for cell in grid] == ["none, 0.1", "none, 0.2", "both, 0.1", "both, 0.2"]
    assert grid[3].settings == {"model.temporal": "global,global,local,local", "train.lr": "0.2"}
    assert grid[3].folder == "temporal=both+train.lr=0.2"


def test_named_and_raw_values_meet_in_one_factor() -> None:
    factor = parse_factor("model.temporal=both,local/local/none/none")
    values = [level["model.temporal"] for level in factor.levels.values()]
    assert values == ["global,global,local,local", "local,local,none,none"]
    assert combinations([factor])[1].folder == "model.temporal=local-local-none-none"


def test_level_with_added_settings_sets_all_of_them() -> None:
    factor = parse_factor("model=tdpn,tdpn+spatial_modulation=separable+levels=res4/res5,tsm+tdpn,tsm+tdpn+window=1")
    assert list(factor.levels.values()) == [
        {"model.name": "tdpn"},
        {"model.name": "tdpn", "model.spatial_modulation": "separable", "model.levels": "res4,res5"},
        {"model.name": "tsm+tdpn"},
        {"model.name": "tsm+tdpn", "model.window": "1"},
    ]
    rows = combinations([factor, parse_factor("lr=1e-3,1e+1")])
    assert rows[3].settings == {
        **factor.levels["tdpn+spatial_modulation=separable+levels=res4/res5"],
        "train.lr": "1e+1",
    }
    assert rows[3].folder == "model=tdpn+spatial_modulation=separable+levels=res4-res5+lr=1e+1"


def test_setting_in_a_level_and_as_a_factor_is_refused() -> None:
    with pytest.raises(UsageError, match=r"model\.flow is varied twice"):
        combinations([parse_factor("model=tdpn,tpn+flow=parallel"), parse_factor("flow=none,cascade")])


def test_without_a_word_it_is_table_iv() -> None:
    (factor,) = table_iv()
    assert (factor.path, list(factor.levels)) == ("model.temporal", ["none", "global", "local", "both"])


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("flow", "model.flow"),
        ("train.lr", "train.lr"),
        ("lr", "train.lr"),
        ("model", "model.name"),
        ("flip", "sampling.flip"),
    ],
)
def test_a_setting_is_found_by_its_field_alone(name: str, path: str) -> None:
    assert setting_path(name) == path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flwo=a,b", "--vary: no setting 'flwo'; did you mean 'flow'?"),
        ("model.atention=true,false", "no setting 'model.atention'; did you mean 'model.attention'?"),
        ("zzzzzz=1,2", "no setting 'zzzzzz'; one of temporal, model, "),
        ("flow", "'flow' is not NAME=VALUE,VALUE; for example --vary flow=cascade,parallel"),
        ("flow=", "'flow=' is not NAME=VALUE,VALUE"),
        ("flow=none,none", "flow is given the same value twice"),
        ("temporal=both,global/global/local/local", "temporal is given the same value twice"),
        ("model=tpn+flow=none+flow=cascade", "'tpn+flow=none+flow=cascade' has two values of one setting"),
        ("model=tpn+flwo=none", "no setting 'flwo'; did you mean 'flow'?"),
        ("model=tpn+seed=3", "the seed is not a factor"),
        ("seed=1,2", "the seed is not a factor; --seeds 3 repeats every row with three"),
    ],
)
def test_what_cannot_be_varied_is_said_with_the_nearest_name(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parse_factor(text)


def test_a_setting_is_varied_once() -> None:
    with pytest.raises(UsageError, match=r"model\.flow is varied twice"):
        combinations([parse_factor("flow=none,cascade"), parse_factor("model.flow=parallel")])


@pytest.mark.parametrize(
    ("factor", "value", "nearest"),
    [("flow", "cascad", "cascade"), ("temporal", "globl", "global"), ("mode", "dens", "dense")],
)
def test_a_level_that_no_network_has_comes_with_the_nearest(factor: str, value: str, nearest: str) -> None:
    error = check_level(parse_factor(f"{factor}={value}"), value, "why")
    assert str(error) == f"--vary: {factor} cannot be '{value}' (why); did you mean '{nearest}'?"


def test_the_papers_numbers_belong_to_its_own_settings_only() -> None:
    printed = [paper_top1(model_config(temporal=temporal), "kinetics400") for temporal in TABLE_IV.values()]
    assert printed == [0.740, 0.758, 0.757, 0.772]
    assert paper_top1(model_config(flow="parallel"), "kinetics400") is None
    assert paper_top1(model_config(), "folder") is None, "other data has no number in the paper"
    assert paper_top1(model_config(attention=False), "kinetics400") is None
    assert paper_top1(model_config(temporal=("local", "local", "global", "global")), "kinetics400") is None
