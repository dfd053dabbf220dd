"""`--ema` and `--no-ema` choose between a file's averaged and raw weights in every command that reads such files."""

import csv
import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tdpn_cli.app import app
from tdpn_core.checkpoint import load_checkpoint
from tdpn_core.errors import CheckpointError, UsageError
from tdpn_core.shards import load_manifest

CHOICES = [((), 1), (("--ema",), 1), (("--no-ema",), 0)]
"""Options, and the class that the weights taken answer: the averaged ones the second, the raw ones the first."""


@pytest.fixture(scope="module")
def names(prepared):
    return load_manifest(prepared).classes["action"]


@pytest.fixture(scope="module")
def sets(parity, names):
    """Raw and averaged weights of a ResNet-18, each of which answers one class whatever it is shown."""
    known = parity("torchvision_resnet18").state

    def answering(label):
        bias = torch.zeros(len(names))
        bias[label] = 1000
        return known | {
            "conv1.weight": torch.full_like(known["conv1.weight"], 0.01 * label),
            "fc.weight": known["fc.weight"][: len(names)],
            "fc.bias": bias,
        }

    return {"model": answering(0), "model_ema": answering(1)}


@pytest.fixture
def both(sets, names, write):
    return write({"meta": {"CLASSES": names}, **sets}, "both.pth")


def tdpn(*words):
    result = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize(("option", "label"), CHOICES)
def test_predict_with_ema_option_answers_and_reports_by_these_weights(both, videos, names, option, label, tmp_path):
    clip = next(videos.rglob("*.mp4"))
    words = ["predict", clip, "--checkpoint", both, "--views", "1x1", *option]
    (result,) = json.loads(tdpn(*words, "--json", "--csv", tmp_path / "a.csv").stdout)
    assert result["heads"]["action"][0]["class"] == names[label]
    assert result["network"]["weights"] == ("raw", "averaged")[label]
    assert {row["weights"] for row in csv.DictReader((tmp_path / "a.csv").read_text().splitlines())} == {
        ("raw", "averaged")[label]
    }


@pytest.mark.parametrize(("option", "label"), CHOICES[1:])
def test_eval_with_ema_option_scores_these_weights(both, prepared, names, option, label, tmp_path):
    words = ["eval", both, "--data", prepared, "--views", "1x1", "--workers", 0, "--allow-mismatch", *option]
    said = tdpn(*words, "--out", tmp_path / "report").output
    assert f"uses the {('raw', 'averaged (EMA)')[label]} weights" in said
    rows = csv.DictReader((tmp_path / "report" / "predictions-action.csv").read_text().splitlines())
    assert {row["predicted"] for row in rows} == {names[label]}


@pytest.mark.parametrize(("option", "label"), CHOICES[1:])
def test_train_with_ema_option_starts_from_these_weights(both, prepared, option, label, tmp_path):
    words = ["train", "--init", both, "--data", prepared, "--out", tmp_path / "run", "--workers", 0, "--model", "tsn"]
    words += ["--arch", "r18", "--frames", 1, "--size", 32, "--epochs", 1, "--batch-size", 8, "--lr", 1e-12]
    tdpn(*words, *option)
    weights = load_checkpoint(tmp_path / "run" / "best.pt").weights
    (first,) = (value for value in weights.values() if tuple(value.shape[:2]) == (64, 3))
    torch.testing.assert_close(first, torch.full_like(first, 0.01 * label), atol=1e-6, rtol=0)


def command(name: str, path: Path, videos: Path, prepared: Path, folder: Path) -> list[object]:
    return {
        "predict": ["predict", next(videos.rglob("*.mp4")), "--checkpoint", path],
        "eval": ["eval", path, "--data", prepared],
        "train": ["train", "--init", path, "--data", prepared, "--out", folder / "run"],
        "export": ["export", path, "--data", prepared, "--format", "pt2", "--out", folder / "a.pt2"],
    }[name]


@pytest.mark.parametrize("name", ["predict", "eval", "train", "export"])
@pytest.mark.parametrize(("option", "kept", "message"), [
    ("--ema", "model", r"a\.pth: holds no averaged \(EMA\) weights, only raw ones; leave out --ema"),
    ("--no-ema", "model_ema", r"a\.pth: holds no raw weights, only averaged \(EMA\) ones; leave out --no-ema"),
])  # fmt: skip
def test_weights_that_a_file_lacks_are_refused(
    name, option, kept, message, sets, names, write, videos, prepared, tmp_path
):
    path = write({"meta": {"CLASSES": names}, kept: sets[kept]}, "a.pth")
    with pytest.raises(CheckpointError, match=message):
        tdpn(*command(name, path, videos, prepared, tmp_path), option)


@pytest.mark.parametrize("name", ["predict", "eval", "train", "export"])
def test_ema_option_for_a_checkpoint_of_tdpn_is_refused(name, both, videos, prepared, tmp_path):
    from tdpn_core.checkpoint import save_checkpoint
    from tdpn_core.weights.open_checkpoint import open_checkpoint

    own = tmp_path / "own.pt"
    save_checkpoint(own, open_checkpoint(both))
    with pytest.raises(UsageError, match=r"--ema/--no-ema: chooses among the weights of another project's checkpoint"):
        tdpn(*command(name, own, videos, prepared, tmp_path), "--ema")


def test_ema_option_without_init_is_refused(prepared, tmp_path):
    with pytest.raises(UsageError, match=r"--ema/--no-ema: chooses among the weights in the file given with --init"):
        tdpn("train", "--data", prepared, "--out", tmp_path / "run", "--ema")
