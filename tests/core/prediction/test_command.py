"""`tdpn predict` as it is typed: what it prints, writes and returns."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import warm
from local_web import serve

from tdpn_core.video.ffmpeg_binary import Program
from tdpn_core.wording import size_text


def tdpn(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "tdpn_cli", *map(str, words)]
    variables = {**os.environ, "COLUMNS": "100", "OMP_NUM_THREADS": "1", **environment}
    return warm.run(command, cwd=cwd, env=variables)


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
    network, error = result.stderr.splitlines()
    assert network.startswith("network runs/a/best.pt: trained on ")
    assert network.endswith("views 1x1")
    assert error == "error clips/broken.mp4: not a video: no known container or damaged header"
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
    assert (clip["network"]["checkpoint"], clip["network"]["views"]) == ("runs/a/best.pt", "1x1")
    assert missing["network"] is None


def test_a_run_name_answers_and_a_wrong_one_is_an_error(place: Path) -> None:
    (clip,) = json.loads(tdpn("predict", "a", "clips/0.mp4", "--json", cwd=place).stdout)
    assert (clip["clip"], clip["network"]["checkpoint"]) == ("clips/0.mp4", "runs/a/best.pt")
    wrong = tdpn("predict", "runs/aa", "clips/0.mp4", cwd=place)
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "runs/aa: no such checkpoint or run hint did you mean runs/a?" in " ".join(wrong.stderr.split())


def test_slow_servers_and_endless_playlists_are_given_up_with_the_option_to_raise(
    place: Path, program: Program
) -> None:
    video = (place / "clips" / "0.mp4").read_bytes()
    parts = ["-c", "copy", "-f", "hls", "-hls_segment_filename", place / "%d.ts", place / "live.m3u8"]
    command = [program.path, "-loglevel", "error", "-i", place / "clips" / "0.mp4", *parts]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    playlist = (place / "live.m3u8").read_bytes().replace(b"#EXT-X-ENDLIST", b"")
    with serve() as web:
        web.files = {"/a.mp4": video, "/live.m3u8": playlist, "/0.ts": (place / "0.ts").read_bytes()}
        web.drip, web.piece, web.dripping = 0.05, 1, ".mp4"
        words = [f"{web.url}/a.mp4", f"{web.url}/live.m3u8", "clips/1.mp4"]
        result = tdpn("predict", *words, "--idle-timeout", 1, "--window", 0.4, "--csv", "slow.csv", cwd=place)
    assert result.returncode == 1, result.stderr
    said = " ".join(result.stderr.split())
    slow = r"a.mp4: cannot be fetched: less than 1.0 kB a second for 1 s: \d+ bytes of "
    assert re.search(f"{slow}{size_text(len(video))} received hint wait longer with --idle-timeout", said)
    assert "live.m3u8: a live stream, followed to its end; Ctrl-C ends it earlier" in said
    silent = r"live.m3u8: no frame for 1 s, after \d+ frames, \d.\d s hint wait longer with --idle-timeout"
    assert re.search(silent, said)
    rows = list(csv.DictReader((place / "slow.csv").read_text().splitlines()))
    assert {row["clip"] for row in rows if row["class"]} == {words[1], "clips/1.mp4"}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["predict"], 2, "nothing to predict"),
        (["predict", "ftp://h/a.mp4"], 2, "ftp:// addresses are not supported"),
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


def test_a_table_that_cannot_be_written_is_refused_before_anything_is_predicted(place: Path) -> None:
    result = tdpn("predict", "clips/0.mp4", "--csv", "clips/0.mp4/out.csv", cwd=place)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert "clips/0.mp4/out.csv: cannot be written: Not a directory" in " ".join(result.stderr.split())


def test_ctrl_c_in_a_timeline_writes_the_segment_that_grows(place: Path, program: Program) -> None:
    """One class from the start on, so that no segment is complete when Ctrl-C comes."""
    long = place / "long.mkv"
    drawn = "color=gray:size=64x48:rate=25:duration=200"
    command = [
        program.path,
        "-loglevel",
        "error",
        "-f",
        "lavfi",
        "-i",
        drawn,
        "-preset",
        "ultrafast",
        "-g",
        "250",
        long,
    ]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    words = ["predict", "long.mkv", "--timeline", "--window", "2", "--csv", "stopped.csv", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    script = f"""
import os, signal, sys
from tdpn_core.prediction.score import Scorer
windows, count = Scorer.windows, 0
def counted(*words, **options):
    global count
    for answer in windows(*words, **options):
        count += 1
        yield answer
        if count == 5:
            os.kill(os.getpid(), signal.SIGINT)
Scorer.windows = counted
sys.argv = ["tdpn", *{words!r}]
from tdpn_cli.app import main
main()
"""
    with warm.Popen([sys.executable, "-c", script], cwd=place, env=environment, **pipes) as process:
        out, told = process.communicate(timeout=300)
    assert process.returncode == 130, told
    (clip,) = json.loads(out)
    assert clip["error"] == "long.mkv: interrupted"
    (segment,) = clip["segments"]
    assert (segment["start"], segment["end"]) == (0.0, 6.0)
    rows = list(csv.DictReader((place / "stopped.csv").read_text().splitlines()))
    assert {(row["start"], row["end"]) for row in rows if row["class"]} == {("0.000", "6.000")}
    long.unlink()


def test_ctrl_c_in_a_long_list_ends_with_130_and_leaves_nothing(place: Path) -> None:
    command = [sys.executable, "-m", "tdpn_cli", "predict", *["clips/0.mp4"] * 2000, "--overlay", "drawn"]
    scratch = place / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(scratch)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with warm.Popen(command, cwd=place, env=environment, start_new_session=True, **pipes) as process:
        assert "0.mp4" in process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=300)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert not list(scratch.iterdir())
    assert all(path.suffix == ".mp4" for path in (place / "drawn").iterdir())
    shutil.rmtree(place / "drawn")
    scratch.rmdir()


def test_a_closed_pipe_ends_quietly(place: Path) -> None:
    script = f'"{sys.executable}" -m tdpn_cli predict clips/0.mp4 clips/1.mp4 --timeline | true'
    result = subprocess.run(["bash", "-c", script], cwd=place, capture_output=True, text=True, check=False, timeout=300)
    assert "Traceback" not in result.stderr
    assert "BrokenPipe" not in result.stderr
