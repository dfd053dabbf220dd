"""Odd clips, and fewer classes than five: each is told in a line, the rest is trained on and scored."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tdpn_cli.app import app
from tdpn_core.video.ffmpeg_binary import find_ffmpeg

TINY = ("--arch", "r18", "--frames", "2", "--size", "32", "--batch-size", "4", "--set", "model.width=0.125")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


def tdpn(*words: object) -> str:
    """Both streams of a command that ran in this process."""
    result = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def make(path: Path, picture: str, *options: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [find_ffmpeg().path, "-y", "-loglevel", "error", "-f", "lavfi", "-i", picture, *options, str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    return path


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where a tiny network was trained on two classes, among whose validation clips are odd ones."""
    folder = tmp_path_factory.mktemp("odd")
    plain = make(folder / "clip.mp4", "testsrc2=size=64x48:rate=25:duration=0.4", *H264)
    for number in range(4):
        for label in "ab":
            target = folder / "clips" / ("val" if number == 3 else "train") / label / f"{number}.mp4"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(plain, target)
    val = folder / "clips" / "val"
    make(val / "a" / "one-frame.mp4", "testsrc2=size=64x48:rate=25:duration=1", "-frames:v", "1", *H264)
    shutil.copy(plain, val / "b" / "an-mp4-called.avi")
    make(val / "b" / "sound.mp4", "sine=duration=0.5", "-c:a", "aac")
    make(val / "b" / "huge.mp4", "color=red:size=9000x5000:rate=5:duration=0.2", *H264)
    (val / "a" / "empty.mp4").write_bytes(b"")
    return folder


@pytest.fixture(autouse=True)
def _here(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(odd)


def test_odd_clips_are_told_with_their_reasons_and_the_others_scored(odd: Path) -> None:
    prepared = tdpn("prep", "folder", "--root", "clips", "--short-side", 40)
    assert "data/folder: 6 train, 4 val clips" in prepared
    for line in (
        "val/b/sound.mp4: no video stream",
        "val/b/huge.mp4: 9000x5000 exceeds the limit of",
        "val/a/empty.mp4: an empty file",
    ):
        assert line in prepared
    tdpn("train", "--epochs", 1, *TINY, "--set", "sampling.short_side=36", "--out", "run")
    shown = tdpn("eval", "run/best.pt", "--views", "2x3")
    assert "top-2" in shown, "five of two classes is two"
    assert "top-5" not in shown
    assert "note: 4 clips scored of 7 on disk; 3 could not be decoded when the data was prepared." in shown
    values = json.loads(Path("run/eval-val-2x3/results.json").read_text())
    assert values["heads"]["action"]["top2"] == 1.0
    rows = Path("run/eval-val-2x3/predictions-action.csv").read_text()
    assert "val/a/one-frame.mp4,a," in rows
    assert "val/b/an-mp4-called.avi,b," in rows
