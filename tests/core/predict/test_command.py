"""`tdpn predict` as it is typed: what it prints, writes and returns."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tdpn_cli.app import app
from tdpn_core.predict import Prediction, Segment


def tdpn(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "tdpn_cli", *map(str, words)]
    variables = {**os.environ, "COLUMNS": "100", "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def place(videos: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two clips, a broken one and a run."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "runs" / "a").mkdir(parents=True)
    shutil.copy(checkpoint, folder / "runs" / "a" / "best.pt")
    (folder / "clips").mkdir()
    for number, path in enumerate(sorted((videos / "val").rglob("*.mp4"))[:2]):
        shutil.copy(path, folder / "clips" / f"{number}.mp4")
    (folder / "clips" / "broken.mp4").write_text("no video")
    return folder


def test_a_timeline_is_printed_and_written_and_failures_are_told(place: Path) -> None:
    words = ["predict", "clips", "--timeline", "--window", 0.4, "--csv", "out.csv"]
    result = tdpn(*words, cwd=place)
    assert result.returncode == 1, result.stderr
    assert result.stderr.strip() == "error clips/broken.mp4: not a video: no known container or damaged header"
    lines = result.stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == ["clips/0.mp4", "clips/1.mp4"]
    assert all(line.startswith("  00:0") and "%  " in line for line in lines if line.startswith(" "))
    rows = list(csv.DictReader((place / "out.csv").read_text().splitlines()))
    assert sum(row["rank"] == "1" for row in rows) == len(lines) - 2
    assert [row["clip"] for row in rows if row["error"]] == ["clips/broken.mp4"]
    again = tdpn(*words, cwd=place)
    assert again.returncode == 2
    assert "out.csv: exists already" in again.stderr
    assert "add --force to replace it" in again.stderr
    assert not again.stdout


def test_json_holds_all_clips_with_their_segments(place: Path) -> None:
    result = tdpn("predict", "clips/0.mp4", "none.mp4", "--timeline", "--json", "--topk", 2, cwd=place)
    assert result.returncode == 1
    clip, missing = json.loads(result.stdout)
    assert (clip["error"], clip["segments"][0]["start"], len(clip["heads"]["action"])) == (None, 0.0, 2)
    assert missing["error"] == "none.mp4: no such file"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["predict"], 2, "nothing to predict"),
        (["predict", "ftp://h/a.mp4"], 2, "addresses of ftp:// are not opened"),
        (["predict", "clips", "--overlay", "o.mp4"], 2, "o.mp4: one file for 3 clips"),
        (["predict", "clips/0.mp4", "--csv", "clips"], 2, "clips: is a folder"),
        (["predict", "clips/0.mp4", "--window", "0"], 2, "--window must be a positive number of seconds, not 0"),
        (["predict", "clips/0.mp4", "--gpus", "3"], 2, "3 GPUs asked for, 0 found"),
        (["predict", "clips/0.mp4", "--checkpoint", "clips/broken.mp4"], 1, "clips/broken.mp4: "),
        (["predict", "--webcam", "77"], 1, "webcam 77: "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_one_line(words: list[str], code: int, message: str, place: Path) -> None:
    before = {path.name for path in place.iterdir()}
    result = tdpn(*words, cwd=place, CUDA_VISIBLE_DEVICES="")
    assert (result.returncode, message in " ".join(result.stderr.split())) == (code, True), result.stderr
    assert "Traceback" not in result.stderr
    assert {path.name for path in place.iterdir()} == before


def test_a_table_that_cannot_be_written_is_told_after_the_answers(place: Path) -> None:
    result = tdpn("predict", "clips/0.mp4", "--csv", "clips/0.mp4/out.csv", cwd=place)
    assert result.returncode == 1
    assert "clips/0.mp4" in result.stdout
    assert "Traceback" not in result.stderr
    assert "clips/0.mp4/out.csv: cannot write: File exists" in result.stderr


def test_what_was_told_before_ctrl_c_is_kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A live stream has no other end."""
    done = Prediction(name="a.mp4", heads={"action": [("left", 0.9)]}, seconds=1.0)
    part = Segment(0.0, 2.5, {"action": [("right", 0.75)]})

    def stopped(*_: object, tell: Callable[[str, Segment], None], **__: object) -> Iterator[Prediction]:
        yield done
        tell("webcam 0", part)
        raise KeyboardInterrupt

    monkeypatch.setattr("tdpn_core.predict.predict", stopped)
    words = ["predict", "a.mp4", "--webcam", "0", "--json", "--csv", str(place / "stopped.csv")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 130
    first, second = json.loads(result.stdout)
    assert (first["clip"], first["error"]) == ("a.mp4", None)
    assert (second["clip"], second["error"], second["seconds"]) == ("webcam 0", "webcam 0: interrupted", 2.5)
    assert [segment["end"] for segment in second["segments"]] == [2.5]
    rows = list(csv.DictReader((place / "stopped.csv").read_text().splitlines()))
    assert [(row["clip"], row["class"]) for row in rows] == [("a.mp4", "left"), ("webcam 0", "right"), ("webcam 0", "")]


def test_ctrl_c_in_a_long_list_ends_with_130_and_leaves_nothing(place: Path) -> None:
    command = [sys.executable, "-m", "tdpn_cli", "predict", *["clips/0.mp4"] * 2000, "--overlay", "drawn"]
    scratch = place / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(scratch)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=place, env=environment, start_new_session=True, **pipes) as process:
        assert "0.mp4" in process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert not list(scratch.iterdir())
    assert all(path.suffix == ".mp4" for path in (place / "drawn").iterdir())
    shutil.rmtree(place / "drawn")
    scratch.rmdir()


def test_a_closed_pipe_ends_quietly(place: Path) -> None:
    script = f'"{sys.executable}" -m tdpn_cli predict clips/0.mp4 clips/1.mp4 --timeline | true'
    result = subprocess.run(["bash", "-c", script], cwd=place, capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in result.stderr
    assert "BrokenPipe" not in result.stderr
