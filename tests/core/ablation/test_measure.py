"""Cost of a row next to its accuracy: measured in a process of its own, in every form of the table."""

import csv
import dataclasses
import json
from pathlib import Path

import pytest
import torch

from tdpn_core.ablation import ablate as run
from tdpn_core.ablation.measure import Measured, measured, prepare_measurement
from tdpn_core.ablation.plot import write_cost_plot
from tdpn_core.ablation.statistics import Row
from tdpn_core.ablation.tables import cells, columns, csv_table, html_table, latex_table, markdown_table, plain_rows
from tdpn_core.ablation.worker import run_cell
from tdpn_core.config.overrides import TrainOverrides

COST = Measured(train_clips_per_second=20.0, infer_clips_per_second=50.0, memory=3 * 2**20, machine="CPU of 2 cores")


def row(name: str, gmac: float, top1: list[float], cost: Measured | None = COST) -> Row:
    return Row(
        name=name, levels={"model": name}, seeds=[0, 1], scores={"action": top1}, measured=cost, difference=None,
        p_value=None, parameters=1_000_000, gmac=gmac, clips_per_second=7.0, paper_top1=None, failed={},
    )  # fmt: skip


def test_row_is_measured_without_training_a_run(prepared: Path, tiny: dict[str, str], tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    own = TrainOverrides(settings={**tiny, "train.accumulate": "2"})
    call = {"data": str(prepared), "workers": 0, "recipe": "small", "overrides": own.given()}
    path = prepare_measurement(tmp_path, call)
    assert measured(path) is None
    run_cell(path, 0)
    found = measured(path)
    assert found is not None
    assert 0 < found.train_clips_per_second < found.infer_clips_per_second
    assert found.memory is None or 2**26 < found.memory < 2**36
    assert f"{threads} threads" in found.machine
    assert sorted(known.name for known in path.iterdir()) == ["cell.json", "result.json"]


def test_measured_costs_are_in_every_form_of_the_table(tmp_path: Path) -> None:
    rows = [row("tdpn", 0.2, [0.5, 0.75]), row("<tsn>", 0.1, [0.5, 0.5], None)]
    heads = columns(rows)
    assert heads[-3:] == ["train clips/s", "infer clips/s", "MiB"]
    assert "clips/s" not in heads
    assert [line[-3:] for line in cells(rows)] == [["20.0", "50.0", "3"], ["–", "–", "–"]]
    assert "Measured on: CPU of 2 cores." in markdown_table(rows)
    assert "& 20.0 & 50.0 & 3" in latex_table(rows)
    first, second = csv.DictReader(csv_table(rows).splitlines())
    assert (first["infer_clips_per_second"], second["infer_clips_per_second"]) == ("50.0", "")
    assert plain_rows(rows)[0]["measured"] == dataclasses.asdict(COST)
    page = html_table(rows, tmp_path)
    assert "&lt;tsn&gt;" in page
    assert "infer clips/s" in page
    assert "<img" not in page
    assert columns([row("tdpn", 0.2, [0.5], None)])[-1] == "clips/s"


def test_plot_of_accuracy_over_cost_needs_two_rows(tmp_path: Path) -> None:
    rows = [row("tdpn", 0.2, [0.5, 0.75]), row("tsn", 0.1, [0.5, 0.5])]
    write_cost_plot(rows[:1], tmp_path)
    assert not list(tmp_path.iterdir())
    write_cost_plot(rows, tmp_path)
    assert (tmp_path / "cost.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "cost.pdf").read_bytes().startswith(b"%PDF")
    assert html_table(rows, tmp_path).count('<img src="data:image/png;base64,') == 1


def test_measurements_follow_the_runs_one_at_a_time_and_failed_ones_are_named(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues: list[tuple[list[str], int]] = []

    def done(folders: list[Path], where: list[object], _: object) -> dict[Path, str]:
        queues.append(([folder.name for folder in folders], len(where)))
        hits = {"ids": ["a"], "hits": {"action": [1]}, "parameters": 1, "gmac": 1.0, "clips_per_second": 1.0}
        for folder in folders:
            if folder.name == "cost" and "tsn" in str(folder):
                continue
            result = dataclasses.asdict(COST) if folder.name == "cost" else hits
            (folder / "result.json").write_text(json.dumps(result))
        return {folder: "no memory" for folder in folders if not (folder / "result.json").exists()}

    monkeypatch.setattr(run, "run_queue", done)
    result = run.ablate(data=prepared, out=tmp_path, vary=["model=tpn,tsn"], jobs=2, gpus=0, measure=True)
    assert queues == [(["seed-0", "seed-0"], 2), (["cost", "cost"], 1)]
    assert [known.measured for known in result.rows] == [COST, None]
    assert result.failed == {"tsn, cost": "no memory"}
    assert "<img" in (tmp_path / "table.html").read_text()
