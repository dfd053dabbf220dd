"""The page of each recipe says what the recipe is."""

import re
from pathlib import Path
from typing import Any

import pytest

from tdpn_core import recipes
from tdpn_core.config.families import model_config
from tdpn_core.config.schema import DataConfig, RunConfig, SamplingConfig, TrainConfig, to_dict
from tdpn_core.config.setting_names import setting_paths
from tdpn_core.recipes import auto_recipe as finetune
from tdpn_core.recipes.auto_recipe import Facts

PAGES = Path(__file__).parents[2] / "docs" / "recipes"
DATA = DataConfig(
    path="data/x", dataset="folder", classes={"action": ["a", "b"]}, classes_digest="c", digest="d", short_side=256
)
CHOSEN = {
    path
    for facts in (Facts(), Facts(per_class=(1, 9)))
    for c in finetune.choices(facts, model_config())
    for path in c.settings
}


def _table(name: str) -> dict[str, str]:
    return dict(re.findall(r"^\| `([a-z]+\.[a-z_]+)` \| (.+) \|$", (PAGES / f"{name}.md").read_text(), re.MULTILINE))


def _config(name: str) -> RunConfig:
    return recipes.find(name)(DATA, recipes.NOTHING_KNOWN)


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _get(config: RunConfig, path: str) -> Any:
    section, _, field = path.partition(".")
    return to_dict(config)[section][field]


def test_every_recipe_has_a_page_and_every_page_a_recipe() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == set(recipes.RECIPES)


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_page_prints_the_recipes_values(name: str) -> None:
    table, config = _table(name), _config(name)
    assert table
    assert table == {path: _text(_get(config, path)) for path in table}


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_page_leaves_nothing_out_that_the_recipe_sets(name: str) -> None:
    config, table = to_dict(_config(name)), _table(name)
    usual = {"model": to_dict(model_config()), "sampling": to_dict(SamplingConfig()), "train": to_dict(TrainConfig())}
    changed = {
        f"{section}.{field}"
        for section, values in usual.items()
        for field, value in values.items()
        if config[section][field] != value and field != "num_classes"
    }
    assert changed - table.keys() <= (CHOSEN if name == "finetune" else set())


def test_no_page_names_a_setting_that_is_not_there() -> None:
    fields = set(setting_paths())
    for page in PAGES.glob("*.md"):
        named = re.findall(r"\b((?:model|sampling|train)\.[a-z_]+)\b", page.read_text())
        assert set(named) <= fields, page.name


def test_the_page_of_finetune_prints_the_bounds_of_its_rules() -> None:
    text = (PAGES / "finetune.md").read_text()
    assert f"below {finetune.FEW:,}" in text
    assert f"below {finetune.MANY:,}" in text
