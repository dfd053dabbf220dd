"""A model family of another package, as the how-to page has it, by the command line."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import warm

PAGE = Path(__file__).parents[2] / "docs" / "add-model.md"
TINY = ("--epochs", 1, "--size", 32, "--batch-size", 8, "--gpus", 0, "--workers", 0)


def _block(language: str) -> str:
    match = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert match
    return match[1]


def _tdpn(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "tdpn_cli", *map(str, words)]  # -P: as the installed command is started
    return warm.run(command, cwd=folder)


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A working folder with the page's module, of which no package is installed."""
    (tmp_path / "mymodel.py").write_text(_block("python"))
    return tmp_path


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder; the page's package is installed elsewhere."""
    site = tmp_path / "site"
    info = site / "mymodel-1.dist-info"
    info.mkdir(parents=True)
    (site / "mymodel.py").write_text(_block("python"))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mymodel\nVersion: 1\n")
    ((group, names),) = tomllib.loads(_block("toml"))["project"]["entry-points"].items()
    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in names.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("PYTHONPATH", str(site))
    work = tmp_path / "work"
    work.mkdir()
    return work


def test_a_family_of_another_package_is_trained_evaluated_and_exported(package: Path, prepared: Path) -> None:
    listed = _tdpn(package, "models", "mymodel", "--json")
    assert listed.returncode == 0, listed.stderr
    assert json.loads(listed.stdout)[0]["title"] == "A small 2D network"
    trained = _tdpn(
        package,
        "train",
        "--model",
        "mymodel",
        "--data",
        prepared,
        "--out",
        "run",
        *TINY,
        "--set",
        "model.base_channels=8",
    )
    assert trained.returncode == 0, trained.stderr
    model = json.loads((package / "run" / "config.json").read_text())["model"]
    assert (model["name"], model["arch"], model["num_frames"], model["base_channels"]) == ("mymodel", "shallow", 4, 8)
    scored = _tdpn(package, "eval", "run/best.pt", "--json", "--gpus", 0, "--workers", 0)
    assert scored.returncode == 0, scored.stderr
    exported = _tdpn(package, "export", "run/best.pt", "--format", "pt2", "--compare", 2)
    assert exported.returncode == 0, exported.stderr
    assert (package / "run" / "best.pt2").is_file()


def test_a_family_of_a_module_is_trained_and_its_checkpoint_read_by_the_same_option(
    module: Path, prepared: Path
) -> None:
    source = "mymodel:FAMILY"
    trained = _tdpn(module, "train", "--model", source, "--data", prepared, "--out", "run", *TINY)
    assert trained.returncode == 0, trained.stderr
    scored = _tdpn(module, "eval", "run/best.pt", "--model", source, "--json", "--gpus", 0, "--workers", 0)
    assert scored.returncode == 0, scored.stderr
    unknown = _tdpn(module, "eval", "run/best.pt", "--json", "--gpus", 0, "--workers", 0)
    assert unknown.returncode == 2
    assert "no model 'mymodel'" in unknown.stderr


def test_the_pages_package_has_under_40_lines_of_code() -> None:
    code = [line for line in (_block("python") + _block("toml")).splitlines() if line.strip()]
    assert len(code) < 40
