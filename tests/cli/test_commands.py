"""The command line as a person uses it: in a folder, by the README's words, in a real process."""

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

CODE = "import sys; sys.argv[0] = 'tdpn'; from tdpn_cli.app import main; main()"
TINY = ["--frames", "2", "--size", "32", "--batch-size", "8", "--set", "model.width=0.125"]


def tdpn(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "COLUMNS": "100", "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-W", "error", "-c", CODE, *map(str, words)]
    return warm.run(command, cwd=cwd, env=variables)


@pytest.fixture(scope="module")
def workplace(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the five commands have been run in a row, by hand as it were; `prep` and `train` so far."""
    folder = tmp_path_factory.mktemp("workplace")
    shutil.copytree(videos, folder / "clips")
    (folder / "clips" / "val" / "moving left" / "broken.mp4").write_bytes(b"not a video")
    prepared = tdpn("prep", "folder", "--root", "clips", "--short-side", 40, cwd=folder)
    assert prepared.returncode == 0, prepared.stderr
    assert "broken.mp4: not a video" in prepared.stderr
    assert "data/folder: 24 train, 8 val clips" in prepared.stdout
    trained = tdpn("train", "--epochs", 2, *TINY, cwd=folder)
    assert trained.returncode == 0, trained.stderr
    assert "next  tdpn eval runs/folder-tdpn-r18/best.pt" in trained.stdout
    return folder


def test_evaluation_prints_a_table_and_leaves_a_report_of_the_same_numbers(workplace: Path) -> None:
    table = tdpn("eval", "runs/folder-tdpn-r18/best.pt", "--views", "1x1", cwd=workplace)
    assert table.returncode == 0, table.stderr
    assert max(map(len, table.stdout.splitlines())) <= 100
    plain = tdpn("eval", "runs/folder-tdpn-r18/best.pt", "--views", "1x1", "--json", cwd=workplace)
    result = json.loads(plain.stdout)
    head = result["heads"]["action"]
    assert f"{head['top1']:.2%}" in table.stdout
    assert (result["clips"], result["rejected"], result["views"]) == (8, 1, "1x1")
    report = workplace / result["report"]
    assert f"| top-1 | {head['top1']:.2%} |" in report.read_text()
    rows = list(csv.DictReader((report.parent / "predictions-action.csv").read_text().splitlines()))
    assert sum(row["true"] == row["predicted"] for row in rows) / 8 == head["top1"]
    confusion = list(csv.reader((report.parent / "confusion-action.csv").read_text().splitlines()))
    assert sum(int(confusion[i + 1][i + 1]) for i in range(8)) / 8 == head["top1"]


def test_several_processes_leave_the_scores_of_one(workplace: Path) -> None:
    words = ["eval", "runs/folder-tdpn-r18/best.pt", "--json", "--workers", 0, "--out"]
    one = tdpn(*words, "one", cwd=workplace)
    two = tdpn(*words, "two", "--processes", 2, cwd=workplace)
    assert two.returncode == 0, two.stderr
    assert json.loads(two.stdout)["heads"] == json.loads(one.stdout)["heads"]
    assert (workplace / "two" / "scores.safetensors").read_bytes() == (
        workplace / "one" / "scores.safetensors"
    ).read_bytes()


def test_scores_are_measured_again_and_fused_without_a_network(workplace: Path) -> None:
    best, scores = "runs/folder-tdpn-r18/best.pt", "runs/folder-tdpn-r18/eval-val-1x1/scores.safetensors"
    first = json.loads(tdpn("eval", best, "--views", "1x1", "--json", cwd=workplace).stdout)
    again = json.loads(tdpn("eval", scores, "--json", cwd=workplace).stdout)
    assert again["heads"] == first["heads"]
    fused = tdpn("eval", scores, scores, "--fuse", "1,1.5", "--json", cwd=workplace)
    assert json.loads(fused.stdout)["heads"]["action"]["top1"] == first["heads"]["action"]["top1"], fused.stderr
    searched = tdpn("eval", scores, scores, "--fuse", "search", cwd=workplace)
    assert f"fused: 0.5 x {best} + 0.5 x {best} (2)" in searched.stderr
    assert "weights found on the other half of the val split, 4 clips: 0.5, 0.5" in searched.stderr
    assert "4 clips scored of 9 on disk" in searched.stderr
    assert "report  runs/folder-tdpn-r18/eval-val-1x1/eval-fused-val/report.html" in searched.stdout


def test_more_views_are_scored_and_named(workplace: Path) -> None:
    result = tdpn("eval", "runs/folder-tdpn-r18/best.pt", "--views", "2x3", "--json", cwd=workplace)
    assert json.loads(result.stdout)["views"] == "2x3"
    assert (workplace / "runs/folder-tdpn-r18/eval-val-2x3/report.md").exists()


def test_prediction_finds_the_newest_checkpoint_and_names_classes(workplace: Path) -> None:
    result = tdpn("predict", "clips/val/moving left/000.mp4", "--json", cwd=workplace)
    assert result.returncode == 0, result.stderr
    (prediction,) = json.loads(result.stdout)
    ranking = prediction["heads"]["action"]
    assert len(ranking) == 5
    assert [entry["probability"] for entry in ranking] == sorted((e["probability"] for e in ranking), reverse=True)
    assert {entry["class"] for entry in ranking} <= {path.name for path in (workplace / "clips/train").iterdir()}


def test_prediction_of_a_source_file_is_its_evaluation_to_the_last_digit(workplace: Path) -> None:
    report = json.loads(tdpn("eval", "runs/folder-tdpn-r18/best.pt", "--json", cwd=workplace).stdout)["report"]
    rows = list(csv.DictReader((workplace / report).parent.joinpath("predictions-action.csv").read_text().splitlines()))
    result = tdpn("predict", "clips/val", "--json", "--topk", 1, cwd=workplace)
    assert result.returncode == 1, "broken.mp4 is among them"
    predicted = {Path(entry["clip"]).relative_to("clips").as_posix(): entry for entry in json.loads(result.stdout)}
    assert len(predicted) == len(rows) + 1
    for row in rows:
        (best,) = predicted[row["clip"] if row["clip"].endswith(".mp4") else f"{row['clip']}.mp4"]["heads"]["action"]
        assert (best["class"], f"{best['probability']:.6f}") == (row["predicted"], f"{float(row['probability']):.6f}")


def test_a_broken_file_does_not_stop_the_prediction_of_others(workplace: Path) -> None:
    broken, whole = "clips/val/moving left/broken.mp4", "clips/val/moving left/000.mp4"
    result = tdpn("predict", broken, "missing.mp4", whole, cwd=workplace)
    assert result.returncode == 1
    assert result.stderr.count("error") == 2
    assert "missing.mp4: no such file" in result.stderr
    assert whole in result.stdout
    assert "Traceback" not in result.stderr


def test_a_second_prep_has_nothing_to_do(workplace: Path) -> None:
    again = tdpn("prep", "folder", "--root", "clips", "--short-side", 40, "--json", cwd=workplace)
    report = json.loads(again.stdout)
    assert report["added"] == 0
    assert report["clips"] == {"train": 24, "val": 8}
    assert [failure["source"] for failure in report["failures"]] == ["val/moving left/broken.mp4"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 3)])
def test_a_run_that_is_stopped_saves_and_resume_finishes_it(workplace: Path, number: int, code: int) -> None:
    folder = f"runs/stopped-{code}"
    words = ["train", "--epochs", "3", *TINY, "--out", folder, "--workers", "1"]
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = warm.Popen(
        [sys.executable, "-W", "error", "-c", CODE, *words],
        cwd=workplace, env=variables, stderr=warm.PIPE, start_new_session=True,
    )  # fmt: skip
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith("epoch 1/3"):
            break
    os.killpg(child.pid, number)  # as a terminal or a scheduler does: to the workers, too
    with child.stderr:
        rest = child.stderr.read()
    assert child.wait(60) == code, rest
    assert "hint  add --resume to continue" in rest
    refused = tdpn("train", "--out", folder, cwd=workplace)
    assert (refused.returncode, f"{folder}: already contains a run" in refused.stderr) == (2, True)
    other = tdpn("train", "--out", folder, "--resume", "--lr", 9, cwd=workplace)
    assert (other.returncode, "the run to resume has another train.lr" in other.stderr) == (2, True)
    resumed = tdpn("train", "--out", folder, "--resume", "--json", cwd=workplace)
    assert json.loads(resumed.stdout)["epochs"] == 3, resumed.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["train"], 2, "no prepared data set under data/; run tdpn prep"),
        (["train", "--data", "nowhere"], 2, "nowhere: no prepared data set here"),
        (["train", "--arch", "r101", "--gpus", 6], 2, "--gpus: 6 GPUs asked for, 0 found; use --gpus 0"),
        (["train", "--model", "tdpm"], 2, "did you mean tdpn?"),
        (["bench", "infer", "--arch", "r99"], 2, "not 'r99'"),
        (["trian"], 2, "Did you mean 'train'"),
        (["train", "--resume"], 1, "no last.pt of a run under runs/"),
        (["eval", "none.pt"], 1, "none.pt: no such checkpoint"),
        (["eval", "none.pt", "--topk", "a"], 2, "--topk: 'a' is not a list of integers"),
        (["eval", "a.pt", "b.pt", "--fuse", "x"], 2, "--fuse: 'x' is neither a list of weights nor equal nor search"),
        (["eval", "a.pt", "--fuse", "1"], 2, "--fuse: fusion needs at least two files; name two or more"),
        (["eval", "a.pt", "--sls", "2,3"], 2, "--sls: '2,3' is not three levels from 0 to 5"),
        (["predict", "clip.mp4"], 1, "no best.pt of a run under runs/, and tpn-r50-8x8-k400 (Kinetics-400, about 366"),
        (["ablate", "--set", "flow"], 2, "--set: 'flow' is not NAME=VALUE"),
        (["prep", "folder", "--root", "nowhere"], 1, "nowhere"),
        (["prep", "kinetics", "--root", "."], 2, "kinetics400"),
    ],
)
def test_wrong_use_is_a_line_or_two_with_what_to_do(
    words: list[object], code: int, message: str, tmp_path: Path
) -> None:
    result = tdpn(*words, cwd=tmp_path, CUDA_VISIBLE_DEVICES="")
    text = " ".join(re.sub(r"[│╭╮╰╯─]|hint", " ", result.stderr).split())
    wanted = " ".join(message.replace("; ", " ").split())
    assert (result.returncode, wanted in text) == (code, True), result.stderr
    assert "Traceback" not in result.stderr
    assert not result.stdout
    assert not list(tmp_path.iterdir())


def test_debug_shows_the_traceback_wherever_it_stands(tmp_path: Path) -> None:
    for words in (["--debug", "train"], ["train", "--debug"]):
        result = tdpn(*words, cwd=tmp_path)
        assert result.returncode == 2
        assert "Traceback" in result.stderr
        assert "UsageError" in result.stderr


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["--help"], {"torch", "h5py", "numpy", "pandas", "pydantic", "ffmpeg", "decord", "sklearn"}),
        (["train", "--help"], {"torch", "h5py", "numpy", "pandas", "ffmpeg", "decord", "sklearn"}),
        (["settings"], {"torch", "h5py", "numpy", "pandas", "ffmpeg", "decord", "sklearn"}),
    ],
    ids=["help", "help of train", "settings"],
)
def test_help_and_settings_load_nothing_heavy(words: list[str], heavy: set[str], tmp_path: Path) -> None:
    code = f"""
import sys
sys.argv = ["tdpn", *{words}]
from tdpn_cli.app import main
try:
    main()
except SystemExit as exit:
    assert not exit.code
heavy = {heavy} & set(sys.modules)
assert not heavy, heavy
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("command", ["demo", "prep", "train", "eval", "predict", "push", "ablate", "doctor"])
def test_every_command_explains_itself_with_examples(command: str, tmp_path: Path) -> None:
    result = tdpn(command, "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert f"$ tdpn {command}" in result.stdout
    assert "--json" in result.stdout


def test_a_closed_pipe_ends_quietly(workplace: Path) -> None:
    script = f'{sys.executable} -c "{CODE}" eval runs/folder-tdpn-r18/best.pt --json | true'
    result = subprocess.run(["bash", "-c", script], cwd=workplace, capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr
    assert "BrokenPipe" not in result.stderr


def test_a_small_demo_runs_every_step_and_names_its_commands(tmp_path: Path) -> None:
    result = tdpn("demo", "--epochs", 1, "--clips", 2, "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    demo = json.loads(result.stdout)
    assert demo["evaluation"]["clips"] == 8
    assert (tmp_path / demo["report"]).exists()
    assert [command.split()[1] for command in demo["commands"]] == ["prep", "train", "eval", "predict"]
    repeated = subprocess.run(
        ["bash", "-c", demo["commands"][3].replace("tdpn", f"{sys.executable} -m tdpn_cli", 1)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert repeated.returncode == 0, repeated.stderr
