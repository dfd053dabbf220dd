"""`tdpn data` in a real process."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import warm

CODE = "import sys; sys.argv[0] = 'tdpn'; from tdpn_cli.app import main; main()"


def tdpn(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-c", CODE, "data", *map(str, words)]
    return warm.run(command, cwd=cwd, env=variables)


@pytest.fixture
def workplace(prepared: Path, tmp_path: Path) -> Path:
    shutil.copytree(prepared, tmp_path / "data" / "folder")
    return tmp_path


def test_it_tells_what_the_one_data_set_holds(workplace: Path) -> None:
    result = tdpn(cwd=workplace)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("data/folder: folder, ")
    assert "jpeg, short side 40" in result.stdout
    assert ["train", "24"] in [line.split()[:2] for line in result.stdout.splitlines()]
    assert ["moving", "left", "3", "1"] in [line.split() for line in result.stdout.splitlines()]
    assert max(map(len, result.stdout.splitlines())) <= 100
    values = json.loads(tdpn("--json", cwd=workplace).stdout)
    assert values["splits"]["val"]["clips"] == 8
    assert values["classes"]["action"]["moving left"] == {"train": 3, "val": 1}
    assert (values["finished"], values["verified"], values["faults"]) == (True, False, [])


def test_every_checksum_is_compared_and_every_bad_shard_listed(workplace: Path) -> None:
    whole = tdpn("--verify", cwd=workplace)
    assert whole.returncode == 0
    assert "verified: all 2 shards are as they were written" in whole.stderr
    shards = sorted((workplace / "data" / "folder").glob("*.h5"))
    for shard in shards:
        content = bytearray(shard.read_bytes())
        content[-5] ^= 1
        shard.write_bytes(content)
    assert tdpn(cwd=workplace).returncode == 0, "only a look at every byte finds it"
    damaged = tdpn("data/folder", "--verify", cwd=workplace)
    assert damaged.returncode == 1
    for shard in shards:
        assert f"bad: {shard.name} does not match its sha256: damaged are " in damaged.stderr
    assert "error data/folder: 2 of 2 shards are bad" in damaged.stderr
    assert "remove those files and run the same tdpn prep command again" in damaged.stderr
    values = json.loads(tdpn("--verify", "--json", cwd=workplace).stdout)
    assert [fault["file"] for fault in values["faults"]] == [shard.name for shard in shards]


def test_a_half_finished_or_damaged_preparation_is_told_as_such(workplace: Path) -> None:
    folder = workplace / "data" / "folder"
    (folder / "manifest.json").unlink()
    result = tdpn(cwd=workplace)
    assert result.returncode == 0
    assert "data/folder: folder, unfinished, " in result.stdout
    assert "has not come to its end; run the same tdpn prep command again" in result.stderr
    (folder / "ledger" / "val-00000.json").write_text("{")
    result = tdpn(cwd=workplace)
    assert result.returncode == 1
    assert "bad: ledger/val-00000.json: damaged record" in result.stderr
    assert "1 records are damaged" in result.stderr


def test_a_contact_sheet_is_a_png(workplace: Path) -> None:
    result = tdpn("--preview", "sheet.png", cwd=workplace)
    assert result.returncode == 0, result.stderr
    assert "sheet.png: 12 clips" in result.stderr
    assert (workplace / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_data_preview_as_trained_is_a_png_and_needs_a_file(workplace: Path) -> None:
    result = tdpn("--preview", "seen.png", "--as-trained", cwd=workplace)
    assert result.returncode == 0, result.stderr
    assert "seen.png: 12 clips" in result.stderr
    assert (workplace / "seen.png").read_bytes().startswith(b"\x89PNG")
    alone = tdpn("--as-trained", cwd=workplace)
    assert alone.returncode == 2
    assert "add --preview" in alone.stderr


def test_where_nothing_is_prepared_it_says_what_to_do(tmp_path: Path) -> None:
    result = tdpn(cwd=tmp_path)
    assert result.returncode == 2
    assert "no prepared data set under data/" in result.stderr
