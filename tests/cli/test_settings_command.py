"""Doors of `tdpn train`: the list of settings, a run's settings fed back, names for the shell."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tdpn_cli import options
from tdpn_cli.app import app
from tdpn_core.config.families import FAMILIES, find_family
from tdpn_core.config.overrides import TrainOverrides
from tdpn_core.config.schema import SamplingConfig, TrainConfig, to_dict
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.errors import ConfigError, UsageError
from tdpn_core.training.launch import again_as, plan


def test_settings_lists_every_field_with_type_default_and_description() -> None:
    shown = {row["name"]: row for row in json.loads(CliRunner().invoke(app, ["settings", "--json"]).stdout)}
    families = [find_family(name).config for name in FAMILIES]
    kinds = {"model": families, "sampling": [SamplingConfig], "train": [TrainConfig]}
    fields = {
        f"{name}.{field.name}" for name, own in kinds.items() for kind in own for field in dataclasses.fields(kind)
    }
    assert set(shown) == fields
    assert list(shown)[:2] == ["model.name", "model.arch"]
    assert (shown["model.alpha"]["models"], shown["model.width"]["models"]) == (["slowfast"], [])
    assert shown["model.num_frames"]["default"] == "the model's own"
    assert all(row["help"] and row["type"] and row["default"] for row in shown.values() if row["default"] != "")
    assert (shown["train.momentum"]["type"], shown["train.momentum"]["default"]) == ("float", "0.9")


def test_settings_with_a_word_shows_those_that_have_it() -> None:
    shown = CliRunner().invoke(app, ["settings", "patience"]).stdout
    assert "train.patience  int  (default: 5)" in shown
    assert "train.momentum" not in shown
    assert isinstance(CliRunner().invoke(app, ["settings", "nonesuch"]).exception, UsageError)


def test_config_of_a_run_fed_back_gives_its_settings_with_changes_on_top(
    prepared: Path, tiny: dict[str, str], tmp_path: Path
) -> None:
    first = plan(
        prepared, runtime=Runtime(torch.device("cpu")), recipe="small", overrides=TrainOverrides(settings=tiny)
    )
    path = tmp_path / "config.json"
    path.write_text(json.dumps(to_dict(first)))
    assert again_as(path, None) == first
    changed = again_as(path, prepared, overrides=TrainOverrides(lr=0.125, settings={"train.momentum": "0.5"}))
    assert changed.train == dataclasses.replace(first.train, lr=0.125, momentum=0.5)
    assert (changed.model, changed.sampling) == (first.model, first.sampling)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [(None, UsageError, "cannot be read"), ("{", ConfigError, "is not JSON"), ("{}", ConfigError, "recipe")],
)
def test_config_that_is_none_is_refused(text: str | None, kind: type[Exception], message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(kind, match=message):
        again_as(path, None)
    with pytest.raises(UsageError, match="--recipe"):
        again_as(path, None, recipe="small")


def test_completion_knows_recipes_and_prepared_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/manifest.json", "b/other.json"):
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        (tmp_path / "data" / name).touch()
    monkeypatch.chdir(tmp_path)
    assert options.complete_data("da") == ["data/a"]
    assert options.complete_dataset("k") == ["kinetics400", "kinetics600", "kinetics700"]
    assert options.complete_dataset("au") == ["auto"]
    assert options.complete_recipe("ep") == ["epic100", "epic55"]
