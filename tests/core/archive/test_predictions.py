"""Predictions of large archives: several processes, continued, and joined into one table."""

from __future__ import annotations

import csv
import json
import pickle
import shutil
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import tdpn_core
from tdpn_cli.app import app
from tdpn_core.archive import ArchiveFiles
from tdpn_core.archive.archive import ArchiveResult, compute_share, join_archive
from tdpn_core.errors import DatasetError, UsageError
from tdpn_core.features import FeatureOptions
from tdpn_core.features.archive import FeatureWork
from tdpn_core.prediction.archive import PredictionWork
from tdpn_core.prediction.options import PredictOptions
from tdpn_core.prediction.windows import Windowing
from tdpn_core.video.inputs import find_inputs

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


def _share(clips: Path, table: Path, checkpoint: Path, rank: int = 0, world: int = 1) -> int:
    work, files = PredictionWork(checkpoint, OPTIONS), ArchiveFiles(table)
    return compute_share(work, find_inputs([clips]), files, torch.device("cpu"), rank=rank, world=world)


def _join(clips: Path, table: Path, checkpoint: Path) -> ArchiveResult:
    return join_archive(PredictionWork(checkpoint, OPTIONS), find_inputs([clips]), ArchiveFiles(table))


def test_archive_of_two_processes_is_one_table_and_continues_where_one_stopped(
    clips: Path, fresh: Path, tmp_path: Path
) -> None:
    table = tmp_path / "out" / "found.csv"
    with pytest.raises(DatasetError, match="has no result of these clips"):
        _join(clips, table, fresh)
    assert _share(clips, table, fresh, rank=1, world=2) == 2
    half = _join(clips, table, fresh)
    assert (half.clips, half.lacking) == (4, 2)
    assert _share(clips, table, fresh, rank=0, world=2) == 2
    result = _join(clips, table, fresh)
    assert (result.clips, result.failed, result.lacking) == (4, 1, 0)
    rows = list(csv.DictReader(result.table.read_text().splitlines()))
    names = [str(clips / name) for name in ("0.mp4", "1.mp4", "2.mp4", "broken.mp4")]
    assert [row["clip"] for row in rows] == [name for name in names[:3] for _ in range(2)] + names[3:]
    (failure,) = csv.DictReader(result.failures.read_text().splitlines())
    assert failure["clip"] == names[3]
    assert "not a video" in failure["reason"]

    (clips / "1.mp4").write_bytes((clips / "2.mp4").read_bytes())
    assert _share(clips, table, fresh) == 2, "what changed and what failed"
    again = _join(clips, table, fresh)
    changed = [row["class"] for row in csv.DictReader(again.table.read_text().splitlines()) if row["clip"] == names[1]]
    assert changed == [row["class"] for row in rows if row["clip"] == names[2]]


def test_table_as_parquet_has_the_values_of_the_csv_with_types(clips: Path, fresh: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    _share(clips, tmp_path / "found.csv", fresh)
    rows = list(csv.DictReader(_join(clips, tmp_path / "found.csv", fresh).table.read_text().splitlines()))
    table = parquet.read_table(_join(clips, tmp_path / "found.parquet", fresh).table)
    assert table.column_names == list(rows[0])
    for row, found in zip(rows, table.to_pylist(), strict=True):
        assert (row["clip"], row["class"] or None) == (found["clip"], found["class"])
        assert (row["rank"] or None) == (None if found["rank"] is None else str(found["rank"]))
        assert (row["probability"] == "") == (found["probability"] is None)
        if found["probability"] is not None:
            assert float(row["probability"]) == pytest.approx(found["probability"], abs=1e-6)
            assert float(row["end"]) == pytest.approx(found["end"], abs=1e-3)


def test_predict_command_of_a_list_writes_an_archive_and_refuses_files_by_clip(
    clips: Path, fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "list.txt").write_text(f"{clips / '0.mp4'}\n\n{clips / 'broken.mp4'}\n")
    words = ["predict", "--list", str(tmp_path / "list.txt"), "--checkpoint", str(fresh), "--gpus", "0"]
    result = CliRunner().invoke(app, [*words, "--archive", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 1, "one clip failed"
    found = json.loads(result.stdout)
    assert {name: found[name] for name in ("clips", "failed", "lacking")} == {"clips": 2, "failed": 1, "lacking": 0}
    assert found["table"] == str(tmp_path / "out" / "predictions.csv")
    refused = CliRunner().invoke(app, [*words, "--archive", str(tmp_path / "out"), "--csv", "a.csv"])
    assert "--csv: has no effect with --archive" in str(refused.exception)
    assert "--processes: has no effect without --archive" in str(
        CliRunner().invoke(app, [*words, "--processes", "2"]).exception
    )
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    lacking = CliRunner().invoke(app, [*words, "--archive", str(tmp_path / "new.parquet")])
    assert "new.parquet: Parquet files require the package pyarrow; pip install" in str(lacking.exception)


def test_predict_command_as_ranks_of_a_launcher_computes_shares_without_a_table(
    clips: Path, fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "found.csv"
    words = ["predict", str(clips), "--checkpoint", str(fresh), "--gpus", "0", "--archive", str(table)]
    for name, value in (("WORLD_SIZE", "2"), ("MASTER_ADDR", "localhost"), ("MASTER_PORT", "1")):
        monkeypatch.setenv(name, value)
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        result = CliRunner().invoke(app, words)
        assert (result.exit_code, result.stdout) == (0, ""), result.output
        assert len(list((tmp_path / "found-parts").glob("*.jsonl"))) == int(rank) + 1
        assert not table.exists()
    joined = tdpn_core.predict_archive(clips, table, checkpoint=fresh, join_only=True)
    assert joined is not None
    assert (joined.clips, joined.failed, joined.lacking) == (4, 1, 0)


@pytest.mark.parametrize(
    "work",
    [
        PredictionWork(Path("a.pt"), PredictOptions(timeline=Windowing(seconds=4), classes=Path("c.txt"))),
        FeatureWork(Path("a.pt"), FeatureOptions(splits=[], stride=1.0)),
    ],
)
def test_work_for_other_machines_has_absolute_paths_and_the_same_key(
    work: PredictionWork | FeatureWork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pt").write_text("a")
    (tmp_path / "c.txt").write_text("c")
    key, placed = work.key(), work.absolute()
    monkeypatch.chdir("/")
    sent = pickle.loads(pickle.dumps(placed))
    assert (sent, hash(sent)) == (placed, hash(placed))
    assert sent.key() == key


def test_archive_refuses_options_for_single_clips(fresh: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--overlay: has no effect on an archive"):
        tdpn_core.predict_archive(
            tmp_path, tmp_path / "o.csv", checkpoint=fresh, options=PredictOptions(overlay=tmp_path)
        )
