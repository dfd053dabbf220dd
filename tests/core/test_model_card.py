"""The card of a run: what it says is what checkpoint, data and evaluations hold."""

import dataclasses
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import tdpn_core
from tdpn_cli.app import app
from tdpn_core.checkpoint import Checkpoint, load_checkpoint
from tdpn_core.config.schema import StartConfig
from tdpn_core.model_card import ExportedFile, card_path, model_card, refresh_card, write_card
from tdpn_core.weights.zoo import ZOO


@pytest.fixture(scope="module")
def run(prepared: Path, tiny: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run, not evaluated."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    overrides = tdpn_core.TrainOverrides(settings=tiny | {"train.epochs": "1"})
    tdpn_core.train(data=prepared, out=folder, recipe="small", gpus=0, workers=0, overrides=overrides)
    return folder


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def front(card: str) -> dict[str, Any]:
    """The metadata of a card, as the hub reads it."""
    _, text, _ = card.split("---\n", 2)
    values = yaml.safe_load(text)
    assert isinstance(values, dict)
    return values


def started(checkpoint: Checkpoint, name: str) -> Checkpoint:
    start = StartConfig(name=name, sha256="0123456789abcdef" * 4)
    return dataclasses.replace(checkpoint, config=dataclasses.replace(checkpoint.config, start=start))


def test_finished_run_has_a_card_with_its_facts(run: Path) -> None:
    card, checkpoint = (run / "best.md").read_text(), load_checkpoint(run / "best.pt")
    assert "| network | tdpn r18 |" in card
    assert f"digest `{checkpoint.config.data.digest[:16]}`" in card
    assert "| start | random weights |" in card
    assert "| train | – | 24 | 0 | 24 |" in card
    assert "Recipe `small`; weights after 1 epoch of 1, 3 steps" in card
    assert "model.width=0.125" in card
    assert "train.batch_size=8" in card
    assert all(name in card for name in checkpoint.config.data.classes["action"])
    top1 = checkpoint.state.history[-1]["val_top1"]
    assert re.search(rf"\| folder \| val \| 1x1 \| action \| 8 \| {top1:.2%} \| [\d.]+% to [\d.]+% \|", card)
    values = front(card)
    assert (values["license"], values["library_name"]) == ("unknown", "tdpn")
    assert "model-index" not in values
    assert "datasets" not in values


def test_evaluation_adds_its_accuracy_to_the_card(copied: Path) -> None:
    result = tdpn_core.evaluate(copied / "best.pt", gpus=0, options=tdpn_core.ScoreOptions(workers=0, views="2x1"))
    metrics = result.heads["action"]
    low, high = metrics.top_intervals[1]
    card = (copied / "best.md").read_text()
    row = f"| folder | val | 2x1 | action | 8 | {metrics.top[1]:.2%} | {low:.2%} to {high:.2%} | {metrics.top[5]:.2%} |"
    assert row in card
    (entry,) = front(card)["model-index"]
    first, second = entry["results"][0]["metrics"]
    assert (first["value"], second["value"]) == (metrics.top[1], metrics.top[5])
    assert entry["results"][0]["dataset"]["split"] == "val"


def test_results_of_other_weights_or_damaged_files_are_not_in_the_card(copied: Path) -> None:
    for name, content in (("eval-a", json.dumps({"weights": "0" * 64, "heads": {"action": {}}})), ("eval-b", "{")):
        (copied / name).mkdir()
        (copied / name / "results.json").write_text(content)
    write_card(copied / "best.pt")
    assert "model-index" not in front((copied / "best.md").read_text())


def test_checkpoint_without_a_card_gets_none_by_an_evaluation(copied: Path) -> None:
    (copied / "best.md").unlink()
    refresh_card(copied / "best.pt")
    assert not (copied / "best.md").exists()


def test_commands_of_a_card_work(run: Path, videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run)
    card = (run / "best.md").read_text()
    predict = next(line for line in card.splitlines() if line.startswith("tdpn predict"))
    words = shlex.split(predict.replace("clip.mp4", shlex.quote(str(next(videos.rglob("*.mp4"))))))[1:]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    python = card.partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(python, names)
    assert sum(value.numel() for value in names["model"].parameters()) > 1000


def test_licence_of_a_start_from_the_zoo_is_its_rows(run: Path) -> None:
    entry = ZOO["resnet50-imagenet"]
    card = model_card(started(load_checkpoint(run / "best.pt"), entry.name), [], address="best.pt")
    assert front(card)["license"] == entry.licence.lower() == "bsd-3-clause"
    assert f"`{entry.name}`, are published under {entry.licence}" in card
    assert f"| start | `{entry.name}`, sha256 `0123456789abcdef` |" in card


def test_licence_of_a_start_from_a_file_is_unknown_and_its_folder_stays_private(run: Path) -> None:
    card = model_card(started(load_checkpoint(run / "best.pt"), "/home/someone/x/best.pt"), [], address="best.pt")
    assert front(card)["license"] == "unknown"
    assert "The licence of `x/best.pt` is not known" in card
    assert "someone" not in card


def test_class_names_have_no_effect_as_markdown(run: Path) -> None:
    checkpoint = load_checkpoint(run / "best.pt")
    data = dataclasses.replace(checkpoint.config.data, classes={"action": ["a|b", "line\nbreak", "\udcff", "*c*"]})
    odd = dataclasses.replace(checkpoint, config=dataclasses.replace(checkpoint.config, data=data))
    card = model_card(odd, [], address="best.pt").encode().decode()
    assert "a\\|b, line break, \\\\udcff, \\*c\\*" in card


def test_card_of_an_exported_file_has_its_own_name_and_comparison(run: Path) -> None:
    about = ExportedFile(format="pt2", int8=False, bytes=1_500_000, difference=2e-7, compared=8)
    card = model_card(load_checkpoint(run / "best.pt"), [], address="best.pt2", exported=about)
    assert "1.5 MB; largest difference of a probability from the network's 2.0e-07 on 8 clips" in card
    assert "tdpn predict clip.mp4 --checkpoint best.pt2 --trust" in card
    assert "tdpn train" not in card.partition("## Training")[0]
    names = [card_path(Path(name)).name for name in ("best.pt", "best.onnx", "best.int8.onnx", "best.pt2")]
    assert names == ["best.md", "best.onnx.md", "best.int8.onnx.md", "best.pt2.md"]
