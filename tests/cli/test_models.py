"""`tdpn models` and `tdpn train --model`, through the real command line."""

import json
import subprocess
import sys
from pathlib import Path

from tdpn_core.config.families import FAMILIES


def run(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "tdpn_cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_models_lists_every_family_with_its_cost_and_what_was_reported(tmp_path: Path) -> None:
    result = run("models", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert [name for name in FAMILIES if not any(line.startswith(f"{name} ") for line in lines)] == []
    assert "slowfast r50 32x224² 34.57 M 50.3" in lines
    assert "weights MCG-NJU/TDN" in lines
    assert "reported Kinetics-400 77.7 (r50 32x2; decisionforce/TPN)" in lines


def test_models_as_json_and_by_name(tmp_path: Path) -> None:
    result = run("models", "tpn", "--json", cwd=tmp_path)
    (entry,) = json.loads(result.stdout)
    assert (entry["model"], entry["parameters"], entry["training_parameters"]) == ("tpn", 71_800_272, 91_498_336)
    assert entry["published"][0]["top1"] == 76.1
    assert entry["weights"] == ["gluon-cv", "decisionforce/TPN", "mmaction2"]
    wrong = run("models", "tpm", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "no model 'tpm'" in wrong.stderr


def test_another_model_is_trained_and_evaluated(prepared: Path, tiny: dict[str, str], tmp_path: Path) -> None:
    settings = {**tiny, "model.num_frames": "4", "train.epochs": "1"}
    options = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    trained = run(
        "train",
        "--model",
        "slowfast",
        "--data",
        prepared,
        "--out",
        tmp_path / "run",
        "--workers",
        0,
        *options,
        cwd=tmp_path,
    )
    assert trained.returncode == 0, trained.stderr
    assert "slowfast r18" in " ".join(trained.stderr.split())
    scored = run("eval", tmp_path / "run" / "best.pt", "--json", "--workers", 0, cwd=tmp_path)
    assert scored.returncode == 0, scored.stderr
    other = run("train", "--resume", "--out", tmp_path / "run", "--model", "tsn", cwd=tmp_path)
    assert other.returncode == 2
    assert "the run to resume has another model.name" in " ".join(other.stderr.split())
