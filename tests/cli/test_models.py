"""`tdpn models` and `tdpn train --model`, through the real command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import warm

from tdpn_core.config.families import FAMILIES


def run(*words: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "tdpn_cli", *map(str, words)]
    return warm.run(command, cwd=cwd, env=env)


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


def test_published_checkpoints_are_listed_within_80_columns_and_as_json(tmp_path: Path) -> None:
    from tdpn_core.weights.zoo import ZOO

    environment = {**os.environ, "COLUMNS": "80", "TDPN_CACHE": str(tmp_path), "TORCH_HOME": str(tmp_path)}
    result = run("models", "--weights", cwd=tmp_path, env=environment)
    assert result.returncode == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["tpn-r50-8x8-k400", "Kinetics-400", "76.74", "/", "92.57", "366"] in lines
    assert [name for name in ZOO if not any(name in line for line in lines)] == []
    (entry,) = json.loads(run("models", "--weights", "tsm-r50-8-ssv2", "--json", cwd=tmp_path, env=environment).stdout)
    assert (entry["top1"], entry["licence"], entry["classes"], entry["here"]) == (62.72, "Apache-2.0", 174, False)
    assert entry["address"].endswith("_20230317-be0fc26e.pth")
    assert entry["file"] == str(tmp_path / "weights" / "tsm-r50-8-ssv2.pth")


def test_models_fetch_offline_says_which_file_goes_where(tmp_path: Path) -> None:
    environment = {**os.environ, "TDPN_CACHE": str(tmp_path)}
    result = run("--offline", "models", "fetch", "tsm-r50-8-ssv2", cwd=tmp_path, env=environment)
    assert result.returncode == 1
    said = " ".join(result.stderr.split())
    assert "tsm-r50-8-ssv2 (about 96 MB): network access is disabled" in said
    assert f"put it at {tmp_path}/weights/tsm-r50-8-ssv2.pth" in said
    assert not any(tmp_path.iterdir())
