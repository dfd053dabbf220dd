"""Features of videos that were not prepared are those of the prepared clips."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import tdpn_core
from tdpn_cli.app import app
from tdpn_core.config.families import model_config
from tdpn_core.config.schema import RunConfig
from tdpn_core.features import FeatureOptions, extract_features, read_features
from tdpn_core.shards import ClipStore
from tdpn_core.video.ffmpeg_binary import Program

parquet = pytest.importorskip("pyarrow.parquet")


@pytest.mark.parametrize(
    ("family", "mode", "frames", "stride"),
    [
        ("tsn", "dense", 3, 0.3),
        ("tsn", "dense", 100, 0.7),
        ("tdn", "segments", 3, 0.3),
        ("tdn", "segments", 2, 0.03),
        ("tdn", "segments", 3, None),
    ],
    ids=["dense", "longer than a clip", "segments", "shorter than a frame", "views"],
)
def test_features_of_videos_are_those_of_the_prepared_clips(
    family: str,
    mode: str,
    frames: int,
    stride: float | None,
    videos: Path,
    prepared: Path,
    fresh_config: RunConfig,
    save_fresh: Callable[[RunConfig, Path], Path],
    tmp_path: Path,
) -> None:
    classes = fresh_config.model.num_classes
    model = model_config(name=family, arch="r18", num_classes=classes, num_frames=frames, input_size=32, width=0.125)
    sampling = dataclasses.replace(
        fresh_config.sampling, mode=mode, interval=2, views="2x3" if stride is None else "1x1"
    )
    network = save_fresh(dataclasses.replace(fresh_config, model=model, sampling=sampling), tmp_path / "best.pt")
    options = FeatureOptions(splits=("val",), stride=stride, workers=0)
    files = extract_features(prepared, checkpoint=network, out=tmp_path / "out", options=options, gpus=0)
    known, clips = read_features(files["val"]), ClipStore(prepared, "val")
    wanted = FeatureOptions(stride=stride)
    names = [videos / clips.source(number) for number in range(2)]
    result = tdpn_core.extract_archive(names, tmp_path / "f.parquet", checkpoint=network, options=wanted, gpus=0)
    assert result is not None
    assert (result.clips, result.failed, result.lacking) == (2, 0, 0)
    table = parquet.read_table(result.table).to_pydict()
    own = known.clip < 2
    assert table["id"] == [str(names[number]) for number in known.clip[own]]
    assert np.allclose(table["start"], known.start[own], atol=1e-6)
    assert np.allclose(table["end"], known.end[own], atol=1e-6)
    assert np.allclose(np.array(table["feature"]), known.pooled()[own], atol=1e-4)
    assert np.array(table["feature"]).std() > 1e-3


def test_features_command_of_videos_writes_one_table_and_lists_a_damaged_video(
    videos: Path, fresh: Path, program: Program, tmp_path: Path
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for number, source in enumerate(sorted((videos / "val").rglob("*.mp4"))[:3]):
        shutil.copy(source, folder / f"{number}.mp4")
    cut = folder / "cut.mkv"
    whole = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=30:duration=4", str(cut)]
    subprocess.run([program.path, "-loglevel", "error", *whole], check=True, stdin=subprocess.DEVNULL)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    words = ["features", str(folder), "--checkpoint", str(fresh), "--gpus", "0", "--archive", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*words, "--stride", "0.5", "--json"])
    assert result.exit_code == 1, result.output
    found = json.loads(result.stdout)
    assert {name: found[name] for name in ("clips", "failed", "lacking")} == {"clips": 4, "failed": 1, "lacking": 0}
    assert found["table"] == str(tmp_path / "out" / "features.parquet")
    (failure,) = csv.DictReader(Path(found["failures"]).read_text().splitlines())
    assert failure["clip"] == str(cut)
    assert "truncated" in failure["reason"]
    table = parquet.read_table(found["table"]).to_pydict()
    assert set(table["id"]) == {str(folder / f"{number}.mp4") for number in range(3)}, "no rows of the damaged one"
    assert "--parquet: has no effect with --archive" in str(CliRunner().invoke(app, [*words, "--parquet"]).exception)
    several = CliRunner().invoke(app, ["features", "a", "b", "--checkpoint", str(fresh)])
    assert "one prepared data set at a time; for videos, add --archive" in str(several.exception)
