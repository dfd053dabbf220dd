"""A data set layout and a recipe of another package, as the how-to page has them, by the command line."""

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tdpn_cli import options
from tdpn_cli.app import app
from tdpn_core.shards import load_manifest

PAGE = Path(__file__).parents[2] / "docs" / "add-data-set.md"
TINY = ("--epochs", 1, "--frames", 2, "--size", 32, "--batch-size", 4, "--set", "model.width=0.125", "--gpus", 0)


def tdpn(*words: object) -> str:
    """Both streams of a command that ran in this process."""
    result = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def _block(language: str) -> str:
    match = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert match
    return match[1]


@pytest.fixture
def clips(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with clips of that layout, where the page's package is installed."""
    files = sorted((videos / "train").glob("*/*.mp4"))[:6]
    for path, name in zip(
        files, ("01_walk_1", "02_walk_1", "18_walk_1", "01_jump_1", "02_jump_1", "18_jump_1"), strict=True
    ):
        target = tmp_path / "clips" / f"person{name}.mp4"
        target.parent.mkdir(exist_ok=True)
        shutil.copy(path, target)
    site = tmp_path / "site"
    info = site / "myset-1.dist-info"
    info.mkdir(parents=True)
    (site / "myset.py").write_text(_block("python"))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: myset\nVersion: 1\n")
    groups = tomllib.loads(_block("toml"))["project"]["entry-points"]
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in own.items()) for group, own in groups.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(site)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_data_set_of_another_package_is_prepared_detected_and_trained_by_its_recipe(clips: Path) -> None:
    tdpn("prep", "myset", "--root", "clips", "--short-side", 40)
    manifest = load_manifest(clips / "data" / "myset")
    assert (manifest.dataset, manifest.classes, manifest.clips()) == (
        "myset",
        {"action": ["jump", "walk"]},
        {"train": 4, "val": 2},
    )
    seen = tdpn("prep", "auto", "--root", "clips", "--dry-run")
    assert "read as myset: person01_jump_1.mp4 names a person and a class" in " ".join(seen.split())
    tdpn("train", *TINY)
    (settings,) = (clips / "runs").glob("myset-*/config.json")
    config = json.loads(settings.read_text())
    assert config["recipe"] == "myset"
    assert config["data"]["dataset"] == "myset"


def test_a_data_set_of_another_package_has_its_aliases_and_is_completed(clips: Path) -> None:
    assert "clips: myset" in tdpn("prep", "Persons", "--root", "clips", "--dry-run")
    assert options.complete_dataset("my") == ["myset"]
    assert options.complete_recipe("my") == ["myset"]


def test_the_pages_package_has_under_40_lines_of_code() -> None:
    code = [line for line in (_block("python") + _block("toml")).splitlines() if line.strip()]
    assert len(code) < 40
