"""`tdpn bench` as it is typed."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tdpn_cli.app import app
from tdpn_core.config.families import FAMILIES
from tdpn_core.errors import UsageError

TINY = ["--arch", "r18", "--frames", "2", "--size", "32", "--rounds", "1", "--gpus", "0", "--set", "model.width=0.125"]


def bench(*words: object) -> str:
    result = CliRunner().invoke(app, ["bench", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("what", ["infer", "train"])
def test_one_network_is_shown_with_every_figure(what: str) -> None:
    text = bench(what, *TINY)
    assert f"tdpn-r18 2x32², {what}, batch 2, CPU" in text
    for line in ("step, s", "processor, s", "clips/s", "of peak", "memory of a step", "forward: res2", "difference of"):
        assert line in text
    assert ("backward, s" in text) == (what == "train")
    assert re.search(r"peak: \d+ GFLOP/s, a float32", " ".join(text.split()))


def test_json_and_a_trace(tmp_path: Path) -> None:
    (result,) = json.loads(bench("infer", *TINY, "--json", "--profile", tmp_path / "trace.json"))
    assert result["clips_per_second"] == pytest.approx(2 / result["chosen"]["seconds"]["step"])
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


def test_all_models_are_a_line_each(monkeypatch) -> None:
    monkeypatch.setattr("tdpn_core.api.FAMILIES", ("tdpn", "tpn"))
    lines = [line for line in bench("infer", "--model", "all", *TINY).splitlines() if "2x32²" in line]
    assert [re.sub(r"\W+", " ", line).split()[0] for line in lines] == ["tdpn", "tpn"]


def test_reading_is_timed_by_the_same_command(prepared: Path) -> None:
    text = bench("data", "--data", prepared, "--clips", 2, "--rounds", 1)
    assert "2 train clips of" in text
    rows = json.loads(bench("data", "--data", prepared, "--clips", 2, "--rounds", 1, "--json"))["rows"]
    assert [row["protocol"] for row in rows] == ["8x8", "8x8, window 5", "32x2"]
    assert all(row["advice"] for row in rows)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["infer", "--model", "tdpm"], "no model 'tdpm'; did you mean tdpn?"),
        (["train", "--model", "zzz"], f"no model 'zzz'; available: {next(iter(FAMILIES))}"),
        (["infer", "--model", "all", "--profile", "x"], "--profile: a trace is of one model; choose one with --model"),
        (["infer", "--gpus", "9"], "--gpus: 9 GPUs asked for"),
        (["infer", "--set", "model.flwo=none"], "model.flwo"),
    ],
)
def test_wrong_use_is_a_line_with_what_to_do(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        CliRunner().invoke(app, ["bench", *words], catch_exceptions=False)
