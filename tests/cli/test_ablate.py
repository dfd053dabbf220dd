"""`tdpn ablate` in real processes: stopped, continued, with runs that fail."""

import csv
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest
import warm

from tdpn_core.config.overrides import TrainOverrides

CODE = "import sys; sys.argv[0] = 'tdpn'; from tdpn_cli.app import main; main()"
TINY = [
    "--size",
    "32",
    "--batch-size",
    "8",
    "--epochs",
    "3",
    "--set",
    "model.width=0.125",
    "--set",
    "model.num_frames=2",
]
GRID = ["--vary", "temporal=none,both", "--vary", "train.lr=0.002,1e30", "--jobs", "2", "--workers", "0"]


def command(*words: object) -> list[str]:
    return [sys.executable, "-W", "error", "-c", CODE, "ablate", *map(str, words)]


def cells_alive(folder: Path) -> list[str]:
    """Processes that work on a cell below `folder`."""
    lines = [path.read_bytes().decode().split("\0") for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return [" ".join(words) for words in lines if "tdpn_core.ablation" in words and str(folder) in " ".join(words)]


@pytest.fixture(scope="module")
def stopped(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str]:
    """An ablation interrupted once a cell had trained an epoch: its folder, exit code and messages."""
    out = tmp_path_factory.mktemp("ablation") / "grid"
    child = warm.Popen(
        command("--data", prepared, "--out", out, *GRID, *TINY),
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=warm.PIPE, start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + 240
    while time.monotonic() < end and not list(out.glob("*/*/last.pt")):
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGINT)
    _, messages = child.communicate(timeout=240)
    return out, child.returncode, messages


def test_an_interrupt_leaves_saved_cells_and_no_process(stopped: tuple[Path, int, str]) -> None:
    out, code, messages = stopped
    assert code == 130, messages
    ending = " ".join(messages.split())
    assert re.search(r"stopped (2|1 of 2) running cells ha(ve|s) saved .* hint run the same command again", ending), (
        ending
    )
    assert not cells_alive(out)
    assert not list(out.rglob("result.json"))


def test_ablation_beside_a_live_one_in_its_folder_is_refused(prepared: Path, tmp_path: Path) -> None:
    from tdpn_core.claim import claimed

    with claimed(tmp_path, "running an ablation", hint=""):
        words = command("--data", prepared, "--out", tmp_path, *GRID, *TINY)
        done = warm.run(words)
    assert done.returncode == 2
    assert f"process {os.getpid()} on" in done.stderr
    assert not list(tmp_path.iterdir()), "nothing of the second one is written"


def test_run_again_it_continues_and_failures_do_not_stop_the_rest(
    stopped: tuple[Path, int, str], prepared: Path
) -> None:
    out, *_ = stopped
    words = command("--data", prepared, "--out", out, *GRID, *TINY, "--json")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = warm.run(words, env=environment)
    assert done.returncode == 1, done.stderr
    result = json.loads(done.stdout)
    good, bad = "none, 0.002", "none, 1e30"
    rows = {row["setting"]: row for row in result["rows"]}
    assert list(rows) == [good, bad, "both, 0.002", "both, 1e30"]
    assert "not finite" in result["failed"][f"{bad}, seed 0"]
    assert "resumed" in done.stderr
    assert rows[good]["seeds"] == [0]
    assert rows["both, 0.002"]["parameters"] > rows[good]["parameters"]
    assert 0 <= rows["both, 0.002"]["p_value"] <= 1
    hits = json.loads((out / "temporal=both+train.lr=0.002/seed-0/result.json").read_text())["hits"]["action"]
    assert rows["both, 0.002"]["top1"]["action"] == pytest.approx(sum(hits) / len(hits))
    table = list(csv.DictReader((out / "table.csv").read_text().splitlines()))
    assert [row["failed"] for row in table] == ["0", "1", "0", "1"]
    assert {"table.md", "table.tex", "table.json", "plot.png", "plot.pdf"} <= {path.name for path in out.iterdir()}
    other = warm.run([*words, "--epochs", "4"], env=environment)
    assert (other.returncode, "contains a run with other settings" in other.stderr) == (2, True), other.stderr


def test_a_table_is_printed_and_finished_runs_are_left_alone(prepared: Path, tmp_path: Path) -> None:
    words = command("--data", prepared, "--out", tmp_path / "four", *TINY[:-4], "--epochs", 1, *TINY[-4:])
    words += ["--workers", "0", "--vary", "temporal=global", "--seeds", "2", "--jobs", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "150"}
    first = warm.run(words, env=environment)
    assert first.returncode == 0, first.stderr
    assert "±" in first.stdout
    assert "paper" not in first.stdout, "the data is not the paper's"
    assert "RuntimeWarning" not in "".join(path.read_text() for path in (tmp_path / "four").glob("*/*/log.txt"))
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "four").glob("*/*/*.pt")}
    assert len({path.parent for path in times}) == 2
    second = warm.run(words, env=environment)
    assert second.stdout == first.stdout
    fewer = [*words, "--seeds", "1"]
    refused = warm.run(fewer, env=environment)
    assert (refused.returncode, "contains the table of another grid" in refused.stderr) == (2, True), refused.stderr
    assert times == {path: path.stat().st_mtime_ns for path in times}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--vary", "flwo=none"], "--vary: no setting 'flwo'"),
        (["--vary", "flow=sideways"], "--vary: flow cannot be 'sideways'"),
        (["--vary", "temporal=globl"], "did you mean 'global'?"),
        (["--gpus", "9"], "--gpus: 9 GPUs asked for"),
    ],
)
def test_wrong_use_is_said_before_anything_runs(words: list[str], message: str, prepared: Path, tmp_path: Path) -> None:
    from tdpn_core.ablation.ablate import ablate
    from tdpn_core.errors import UsageError

    options = dict(zip(words[::2], words[1::2], strict=True))
    with pytest.raises(UsageError) as caught:
        ablate(
            data=prepared,
            out=tmp_path / "out",
            vary=[options["--vary"]] if "--vary" in options else [],
            gpus=int(options["--gpus"]) if "--gpus" in options else None,
        )
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_combination_that_no_network_has_is_a_failed_row(prepared: Path, tmp_path: Path, monkeypatch) -> None:
    from tdpn_core.ablation import ablate as run

    monkeypatch.setattr(run, "run_queue", lambda folders, *_: dict.fromkeys(folders, "not run"))
    settings = {"model.temporal": "none,none,local,local"}
    grid = ["levels=res2/res3/res4/res5,res4/res5", "temporal=local,global"]
    result = run.ablate(data=prepared, out=tmp_path / "out", vary=grid, overrides=TrainOverrides(settings=settings))
    assert [row.failed[0].partition(",")[0] for row in result.rows] == [
        "not run",
        "not run",
        "not run",
        "model.temporal: has a global module on res2",
    ]
    assert len(list((tmp_path / "out").glob("*/seed-0"))) == 3


def test_gpus_take_a_cell_each_and_jobs_share_the_cores(monkeypatch) -> None:
    from tdpn_core.ablation.scheduler import places

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5,7")
    assert [place.environment for place in places(2, 1)] == [
        {"CUDA_VISIBLE_DEVICES": "2"},
        {"CUDA_VISIBLE_DEVICES": "5"},
    ]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert places(2, 1)[1].environment == {"CUDA_VISIBLE_DEVICES": "1"}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert [place.environment for place in places(0, 4)] == [{"OMP_NUM_THREADS": "2"}] * 4
    assert [place.environment for place in places(0, 1)] == [{}]


def test_whole_families_can_be_compared(prepared: Path, tmp_path: Path, monkeypatch) -> None:
    from tdpn_core.ablation import ablate as run

    monkeypatch.setattr(run, "run_queue", lambda folders, *_: dict.fromkeys(folders, "not run"))
    result = run.ablate(data=prepared, out=tmp_path, vary=["model=tdpn,tpn,tsm"])
    assert [row.name for row in result.rows] == ["tdpn", "tpn", "tsm"]
    calls = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("*/seed-0/cell.json"))]
    assert [call["overrides"]["model"] for call in calls] == ["tdpn", "tpn", "tsm"]
    with pytest.raises(Exception, match=r"model cannot be 'tpm'.*did you mean 'tsm'"):
        run.ablate(data=prepared, out=tmp_path, vary=["model=tdpn,tpm"])


@pytest.mark.parametrize("width", [80, 160])
def test_headings_of_the_table_are_whole_at_any_width(
    width: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    from tdpn_cli import ablate, output
    from tdpn_core.ablation.ablate import Ablation
    from tdpn_core.ablation.statistics import Row

    row = Row(
        name="both",
        levels={"temporal": "both", "train.lr": "0.002"},
        seeds=[0, 1, 2],
        scores={"action": [0.5, 0.625, 0.5]},
        difference=0.1,
        p_value=0.125,
        holm_p_value=0.25,
        parameters=11_200_000,
        gmac=10.11,
        clips_per_second=100.0,
        paper_top1=None,
        failed={},
    )
    monkeypatch.setattr(output, "stdout", Console(width=width, highlight=False))
    ablate.show(Ablation(folder=tmp_path, rows=[row, row]))
    shown = capsys.readouterr().out.splitlines()
    heads = next(line for line in shown if "temporal" in line).split()
    known = ["temporal", "train.lr", "top-1", "seeds", "difference", "p", "p", "(Holm)", "M"]
    known += ["parameters", "GMAC", "clips/s"]
    assert heads == known[: len(heads)], "no heading is cut or wrapped"
    assert len(heads) == len(known) if width == 160 else "p" in heads
    assert any("want of width" in line and "clips/s" in line for line in shown) == (width == 80)
