"""`tdpn prep` shows what it understood before it decodes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import warm

from tdpn_core.shards import load_manifest

CODE = "import sys; sys.argv[0] = 'tdpn'; from tdpn_cli.app import main; main()"


def tdpn(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "COLUMNS": "80", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-c", CODE, *map(str, words)]
    return warm.run(command, cwd=cwd, env=variables)


@pytest.fixture
def clips(videos: Path, tmp_path: Path) -> Path:
    """Three clips each of two classes that swap in a mirror, and a copy of one clip."""
    files = sorted((videos / "train").glob("*/*.mp4"))
    for folder, some in (("kick_l", files[:3]), ("kick_r", files[3:6])):
        for number, path in enumerate(some):
            target = tmp_path / "clips" / folder / f"{'xyz'[number]}.mp4"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    shutil.copy(tmp_path / "clips/kick_l/x.mp4", tmp_path / "clips/kick_l/x_copy.mp4")
    return tmp_path


def test_prep_dry_run_shows_what_is_understood_and_packs_nothing(clips: Path) -> None:
    result = tdpn("prep", "folder", "--root", "clips", "--dry-run", cwd=clips)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "clips: folder, a folder per class"
    assert max(map(len, lines)) <= 80
    assert "  classes   2: kick_l 4, kick_r 3" in lines
    assert "  clips     7 listed, 7 found, 0 missing" in lines
    assert "  flips     swap labels: kick_l / kick_r" in lines
    assert any(line.startswith("  twins     1 possible: kick_l/x_copy.mp4 and kick_l/x.mp4 (same") for line in lines)
    assert any(line.startswith("  splits    train ") and "drawn by us" in line for line in lines)
    assert not (clips / "data").exists()


def test_prep_dry_run_as_json_has_every_class_and_count(clips: Path) -> None:
    values = json.loads(tdpn("prep", "folder", "--root", "clips", "--dry-run", "--json", cwd=clips).stdout)
    assert values["classes"] == {"action": {"kick_l": 4, "kick_r": 3}}
    assert sum(values["found"].values()) == 7
    assert sum(values["per_class"]["kick_l"].values()) == 4
    assert values["flip_pairs"] == [["kick_l", "kick_r"]]
    assert [(twin["clip"], twin["how"]) for twin in values["twins"]] == [("kick_l/x_copy.mp4", "bytes")]
    assert values["nonsense"] == []


def test_prep_shows_what_is_understood_before_it_packs(clips: Path) -> None:
    result = tdpn("prep", "folder", "--root", "clips", "--short-side", 40, cwd=clips)
    assert result.returncode == 0, result.stderr
    assert "  classes   2: kick_l 4, kick_r 3" in result.stderr
    assert result.stderr.count("no validation split") == 1
    assert sum(load_manifest(clips / "data" / "folder").clips().values()) == 7


def test_prep_one_class_asks_before_it_packs(clips: Path) -> None:
    shutil.rmtree(clips / "clips" / "kick_r")
    refused = tdpn("prep", "folder", "--root", "clips", "--short-side", 40, cwd=clips)
    assert refused.returncode == 1
    assert "there is only one class, 'kick_l'" in refused.stderr
    assert "--yes packs it anyway" in refused.stderr
    assert not (clips / "data").exists()
    assert tdpn("prep", "folder", "--root", "clips", "--short-side", 40, "--yes", cwd=clips).returncode == 0


def test_data_reports_copies_across_a_given_split(clips: Path) -> None:
    (clips / "clips").rename(clips / "train")
    for name in ("kick_l", "kick_r"):
        (clips / "given" / "val" / name).mkdir(parents=True)
        shutil.copy(clips / "train" / name / "y.mp4", clips / "given" / "val" / name / "seen.mp4")
    shutil.move(clips / "train", clips / "given" / "train")
    packed = tdpn("prep", "folder", "--root", "given", "--short-side", 40, "--out", "packed", cwd=clips)
    said = "note: 2 of 2 val clips show what a train clip shows, so that scores on val are"
    assert said in " ".join(packed.stderr.split()), packed.stderr
    shown = tdpn("data", "packed", cwd=clips)
    assert said in " ".join(shown.stderr.split())
    values = json.loads(tdpn("data", "packed", "--json", cwd=clips).stdout)
    across = [twin for twin in values["twins"] if twin["split"] == "val"]
    assert [(twin["clip"], twin["twin"], twin["how"]) for twin in across] == [
        (f"val/{name}/seen.mp4", f"train/{name}/y.mp4", "bytes") for name in ("kick_l", "kick_r")
    ]
