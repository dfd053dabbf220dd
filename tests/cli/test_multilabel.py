"""Clips with several labels through every command, on rendered clips whose classes are known to occur together."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import warm

from tdpn_core.checkpoint import load_checkpoint
from tdpn_core.demo.several_actions import ACTIONS, ALONE, TOGETHER, draw_actions, render_several_actions
from tdpn_core.evaluation.multilabel import best_thresholds
from tdpn_core.evaluation.score_file import read_scores
from tdpn_core.rng import derive
from tdpn_core.shards import ClipStore

CODE = "import sys; sys.argv[0] = 'tdpn'; from tdpn_cli.app import main; main()"
TINY = ["--recipe", "small", "--size", 32, "--frames", 2, "--batch-size", 8, "--epochs", 2, "--workers", 0, "--gpus", 0,
        "--set", "model.width=0.125"]  # fmt: skip


def tdpn(*words: object, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    result = warm.run([sys.executable, "-W", "error", "-c", CODE, *map(str, words)], cwd=cwd, env=variables)
    assert result.returncode == code, result.stderr
    return result


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `clips` and their list, the data prepared from them, and a run."""
    folder = tmp_path_factory.mktemp("several")
    render_several_actions(folder / "clips", train=32, val=16, seed=0)
    tdpn("prep", "list", "--root", "clips", "--multilabel", "--short-side", 36, cwd=folder)
    tdpn("train", "--out", "run", *TINY, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def evaluated(work: Path) -> dict:
    return json.loads(tdpn("eval", "run/best.pt", "--json", cwd=work).stdout)


def listed(work: Path) -> dict[str, list[str]]:
    with (work / "clips" / "labels.csv").open() as source:
        return {row["path"]: [name for name in row["labels"].split("|") if name] for row in csv.DictReader(source)}


def test_rendered_actions_occur_together_as_stated() -> None:
    drawn = [draw_actions(derive(7, number)) for number in range(2000)]
    circling = [own for own in drawn if "circling slowly" in own]
    others = [own for own in drawn if "circling slowly" not in own]
    for clips, share in ((circling, TOGETHER), (others, ALONE)):
        assert np.mean(["swinging fast" in own for own in clips]) == pytest.approx(share, abs=0.04)
    assert not any({"moving left", "moving right"} <= set(own) for own in drawn)


def test_prepared_clips_have_the_labels_of_the_list(work: Path) -> None:
    expected = listed(work)
    for split in ("train", "val"):
        store = ClipStore(work / "data" / "list", split)
        assert store.manifest.multilabel
        for clip, row in zip(store.ids, store.labels["action"], strict=True):
            assert [ACTIONS[label] for label in np.flatnonzero(row)] == expected[clip]
    shown = tdpn("data", "--json", cwd=work).stdout
    counts = json.loads(shown)["classes"]["action"]
    assert counts["swinging fast"]["train"] + counts["swinging fast"]["val"] == sum(
        "swinging fast" in own for own in expected.values()
    )


def test_preparing_again_packs_nothing_and_without_the_option_is_refused(work: Path) -> None:
    again = tdpn("prep", "list", "--root", "clips", "--multilabel", "--short-side", 36, cwd=work)
    assert "nothing to do" in again.stdout
    refused = tdpn("prep", "list", "--root", "clips", "--short-side", 36, "--yes", cwd=work, code=2)
    assert "multilabel" in refused.stderr


def test_run_validates_map_and_stores_the_best_thresholds(work: Path) -> None:
    with (work / "run" / "metrics.csv").open() as source:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(source)]
    checkpoint = load_checkpoint(work / "run" / "best.pt")
    best = max(rows, key=lambda row: (row["val_map"], -row["val_loss"]))
    assert checkpoint.state.best_score == pytest.approx(best["val_map"])
    assert "val_top1" not in best
    assert checkpoint.calibration is not None
    assert len(checkpoint.calibration.class_thresholds["action"]) == len(ACTIONS)


def test_evaluation_repeats_the_runs_validation_at_its_thresholds(work: Path, evaluated: dict) -> None:
    head = evaluated["heads"]["action"]
    assert head["map"] == pytest.approx(evaluated["run_validation"]["map"], abs=1e-6)
    scores = read_scores(next((work / "run").glob("eval-*/scores.safetensors")))
    expected = best_thresholds(scores.probabilities()["action"], scores.labels["action"])
    assert [row["threshold"] for row in head["classes"].values()] == pytest.approx(expected, abs=1e-5)
    assert any("chosen on validation clips" in note for note in evaluated["notes"])
    folder = next((work / "run").glob("eval-*"))
    assert "mAP" in (folder / "report.md").read_text()
    page = (folder / "report.html").read_text()
    assert "mAP as" in page or "mAP, micro" in page
    with (folder / "predictions-action.csv").open() as source:
        table = list(csv.DictReader(source))
    assert {row["clip"]: sorted(filter(None, row["true"].split("|"))) for row in table} == {
        clip: sorted(own) for clip, own in listed(work).items() if clip in set(scores.ids)
    }


def test_prediction_names_all_classes_that_reach_their_thresholds(work: Path, evaluated: dict) -> None:
    words = ["clips/0032.mp4", "clips/0033.mp4"]
    answers = json.loads(tdpn("predict", *words, "--checkpoint", "run/best.pt", "--json", cwd=work).stdout)
    for answer in answers:
        least = answer["network"]["class_thresholds"]["action"]
        assert list(least) == list(ACTIONS)
        expected = [one["class"] for one in answer["heads"]["action"] if one["probability"] >= least[one["class"]]]
        assert answer["chosen"] == {"action": expected}
    shown = tdpn("predict", *words, "--checkpoint", "run/best.pt", "--csv", "out.csv", cwd=work).stdout
    assert (", ".join(answers[0]["chosen"]["action"]) or "none of these") in shown
    with (work / "out.csv").open() as source:
        rows = list(csv.DictReader(source))
    assert {row["class"]: float(row["threshold"]) for row in rows} == pytest.approx(least, abs=1e-6)


def test_threshold_that_nothing_reaches_gives_none_of_these(work: Path) -> None:
    words = ["predict", "clips/0032.mp4", "--checkpoint", "run/best.pt", "--threshold", "1"]
    assert "no action above the threshold" in tdpn(*words, cwd=work).stdout


def test_timeline_has_segments_of_each_class(work: Path) -> None:
    words = [
        "predict",
        "clips/0032.mp4",
        "--checkpoint",
        "run/best.pt",
        "--window",
        "0.6",
        "--threshold",
        "0",
        "--json",
    ]
    (answer,) = json.loads(tdpn(*words, cwd=work).stdout)
    assert {segment["heads"]["action"][0]["class"] for segment in answer["segments"]} == set(ACTIONS)


def test_exported_file_has_the_networks_probabilities_and_thresholds(work: Path) -> None:
    pytest.importorskip("onnxruntime")
    report = json.loads(
        tdpn("export", "run/best.pt", "--format", "onnx", "--out", "net.onnx", "--json", cwd=work).stdout
    )
    assert report["difference"] < 1e-5
    own, exported = (
        json.loads(tdpn("predict", "clips/0032.mp4", "--checkpoint", file, "--json", cwd=work).stdout)[0]
        for file in ("run/best.pt", "net.onnx")
    )
    assert own["chosen"] == exported["chosen"]
    assert sum(one["probability"] for one in exported["heads"]["action"]) != pytest.approx(1), "no softmax"


def test_thresholds_of_another_split_are_stored_by_calibrate(work: Path) -> None:
    shutil.copy(work / "run" / "best.pt", work / "copy.pt")
    result = tdpn("eval", "copy.pt", "--calibrate", "--views", "1x3", "--json", cwd=work)
    fitted = json.loads(result.stdout)["calibrated"]["action"]
    stored = load_checkpoint(work / "copy.pt").calibration
    assert stored is not None
    assert stored.class_thresholds["action"] == pytest.approx(fitted["thresholds"])
    assert stored.views == "1x3"
    assert fitted["f1_after"] >= fitted["f1_before"]


def test_other_kinds_of_data_and_of_networks_are_refused(work: Path, prepared: Path) -> None:
    refused = tdpn("eval", "run/best.pt", "--data", prepared, "--allow-mismatch", cwd=work, code=1)
    assert "any number of classes" in refused.stderr
    balanced = tdpn("train", "--out", "other", *TINY, "--set", "train.balanced=true", cwd=work, code=2)
    assert "train.positive_weight" in balanced.stderr


def test_models_are_compared_by_map(work: Path) -> None:
    result = json.loads(tdpn("eval", "run/best.pt", "run/last.pt", "--json", cwd=work).stdout)
    first, second = (model["heads"]["action"]["map"] for model in result["models"])
    (difference,) = result["differences"]
    assert difference["action"]["difference"] == pytest.approx(second - first)
    assert 0 < difference["action"]["p_value"] <= 1
    assert "mAP" in tdpn("eval", "run/best.pt", "run/last.pt", cwd=work).stdout


def test_ablation_compares_map(work: Path) -> None:
    words = ["ablate", "--out", "grid", "--vary", "train.multilabel_loss=binary,asymmetric", "--seeds", 1, "--json"]
    rows = json.loads(tdpn(*words, *TINY, "--epochs", 1, cwd=work).stdout)["rows"]
    assert [set(row["map"]) for row in rows] == [{"action"}] * 2
    assert rows[1]["difference"] == pytest.approx(rows[1]["map"]["action"] - rows[0]["map"]["action"])
    assert 0 < rows[1]["p_value"] <= 1
    table = (work / "grid" / "table.md").read_text()
    assert "mAP" in table
    assert "top-1" not in table.lower()
