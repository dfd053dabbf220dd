"""Large archives: several processes, continued, and joined into one table."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tdpn_cli.app import app
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.errors import DatasetError
from tdpn_core.prediction.archive import join_archive, predict_share
from tdpn_core.prediction.options import PredictOptions

CPU = Runtime(torch.device("cpu"))
OPTIONS = PredictOptions(topk=2)


@pytest.fixture
def clips(videos: Path, tmp_path: Path) -> Path:
    """Four clips, one of which is text."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for number, source in enumerate(sorted((videos / "val").rglob("*.mp4"))[:3]):
        shutil.copy(source, folder / f"{number}.mp4")
    (folder / "broken.mp4").write_text("no video")
    return folder


def _share(clips: Path, out: Path, checkpoint: Path, rank: int = 0, world: int = 1) -> int:
    return predict_share([clips], out, checkpoint=checkpoint, runtime=CPU, options=OPTIONS, rank=rank, world=world)


def test_archive_of_two_processes_is_one_table_and_continues_where_one_stopped(
    clips: Path, checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(DatasetError, match="has no result of these clips"):
        join_archive([clips], out, checkpoint=checkpoint, options=OPTIONS)
    assert _share(clips, out, checkpoint, rank=1, world=2) == 2
    half = join_archive([clips], out, checkpoint=checkpoint, options=OPTIONS)
    assert (half.clips, half.lacking) == (4, 2)
    assert _share(clips, out, checkpoint, rank=0, world=2) == 2
    result = join_archive([clips], out, checkpoint=checkpoint, options=OPTIONS)
    assert (result.clips, result.failed, result.lacking) == (4, 1, 0)
    rows = list(csv.DictReader(result.table.read_text().splitlines()))
    names = [str(clips / name) for name in ("0.mp4", "1.mp4", "2.mp4", "broken.mp4")]
    assert [row["clip"] for row in rows] == [name for name in names[:3] for _ in range(2)] + names[3:]
    (failure,) = csv.DictReader(result.failures.read_text().splitlines())
    assert failure["clip"] == names[3]
    assert "not a video" in failure["reason"]

    (clips / "1.mp4").write_bytes((clips / "2.mp4").read_bytes())
    assert _share(clips, out, checkpoint) == 2, "what changed and what failed"
    again = join_archive([clips], out, checkpoint=checkpoint, options=OPTIONS)
    changed = [row["class"] for row in csv.DictReader(again.table.read_text().splitlines()) if row["clip"] == names[1]]
    assert changed == [row["class"] for row in rows if row["clip"] == names[2]]


def test_predict_command_of_a_list_writes_an_archive_and_refuses_files_by_clip(
    clips: Path, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text(f"{clips / '0.mp4'}\n\n{clips / 'broken.mp4'}\n")
    words = ["predict", "--list", str(tmp_path / "list.txt"), "--checkpoint", str(checkpoint), "--gpus", "0"]
    result = CliRunner().invoke(app, [*words, "--archive", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 1, "one clip failed"
    assert {name: json.loads(result.stdout)[name] for name in ("clips", "failed", "lacking")} == {
        "clips": 2,
        "failed": 1,
        "lacking": 0,
    }
    refused = CliRunner().invoke(app, [*words, "--archive", str(tmp_path / "out"), "--csv", "a.csv"])
    assert "--csv: has no effect with --archive" in str(refused.exception)
    assert "--processes: has no effect without --archive" in str(
        CliRunner().invoke(app, [*words, "--processes", "2"]).exception
    )
