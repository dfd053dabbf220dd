"""Run an ablation: a grid of settings and seeds, each cell a run in its own folder, and a result table."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tdpn_core import defaults
from tdpn_core.ablation.cells import is_finished, prepare_cell, result_of
from tdpn_core.ablation.grid import Combination, Factor, check_level, combinations, paper_top1, parse_factor, table_iv
from tdpn_core.ablation.measure import FOLDER, measured, prepare_measurement
from tdpn_core.ablation.scheduler import places, run_queue
from tdpn_core.ablation.search import check_rates, choose_rate, prepare_search
from tdpn_core.ablation.statistics import Row, adjust, compare
from tdpn_core.ablation.tables import csv_table, html_table, latex_table, markdown_table, plain_rows
from tdpn_core.claim import claimed
from tdpn_core.config.overrides import NO_OVERRIDES, TrainOverrides
from tdpn_core.config.schema import RunConfig
from tdpn_core.distributed.runtime import check_gpus, set_up
from tdpn_core.errors import ConfigError, UsageError
from tdpn_core.files import write_json, write_text
from tdpn_core.progress import SILENT, Progress
from tdpn_core.runs import RUNS
from tdpn_core.shards import find_prepared
from tdpn_core.training.launch import plan
from tdpn_core.training.start import find_start

GRID = "grid.json"
"""Rows and seeds of the table next to it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ablation:
    """Result of an ablation, with the folder of its tables and runs."""

    folder: Path
    rows: list[Row]
    unmeasured: dict[str, str] = dataclasses.field(default_factory=dict)
    """Reason for each row whose cost could not be measured, by name."""

    @property
    def failed(self) -> dict[str, str]:
        """Return the reason for each failed cell, by row and seed."""
        runs = {f"{row.name}, seed {seed}": why for row in self.rows for seed, why in row.failed.items()}
        return runs | {f"{name}, cost": why for name, why in self.unmeasured.items()}


def ablate(
    *,
    data: Path | None = None,
    out: Path | None = None,
    vary: Sequence[str] = (),
    seeds: int = defaults.SEEDS,
    search_lr: Sequence[float] = (),
    search_epochs: int | None = None,
    measure: bool = False,
    jobs: int = defaults.JOBS,
    recipe: str | None = None,
    gpus: int | None = None,
    workers: int | None = None,
    overrides: TrainOverrides = NO_OVERRIDES,
    progress: Progress = SILENT,
) -> Ablation:
    """Train and evaluate every combination of settings with each seed, and compare. Implements `tdpn ablate`.

    Finished runs are not repeated, unfinished ones are resumed, failed ones are tried again. Writes `table.json`,
    `.csv`, `.md`, `.tex`, `.html`, `plot.png`, `.pdf`, and `cost.png`, `.pdf` to `out`.

    Args:
        data: folder of the prepared data set; default: the only one under `data/`.
        out: folder of the runs and tables; default: a new one under `runs/`.
        vary: settings and their values, such as `train.lr=0.001,0.002`; default: the paper's Table IV.
        seeds: runs per combination, with consecutive seeds from that of `overrides` (0 by default).
        search_lr: learning rates to choose from for each row: each is tried once, with the first seed, on three
            quarters of the training videos and scored on the others; the validation split is not used.
        search_epochs: epochs of these trials; default: those of a run.
        measure: after the runs, measure the speed of training and inference and the memory of each row, one at a time.
        jobs: parallel runs on the CPU; each GPU has one.
        recipe: name of the recipe; None chooses by data set and device.
        gpus: number of GPUs, 0 for the CPU; None uses all.
        workers: number of processes that read clips, per run; None chooses by machine.
        overrides: changes to the settings of the recipe, for all runs.
        progress: receives a progress bar over the runs, and a line for each that starts or fails.

    Returns:
        A row per combination: accuracies in [0, 1] by seed, and the p-value of its difference from the first row.

    Raises:
        UsageError: unknown setting or value, or `out` contains cells with other settings or the table of another grid.
        InUseError: another ablation is running in `out`.
        Stopped: stopped by a signal; the running cells are saved.
    """
    factors = [parse_factor(text) for text in vary] or table_iv()
    count = torch.cuda.device_count() if gpus is None else check_gpus(gpus)
    job = _Job(find_prepared(data), recipe, count, workers, jobs, overrides, progress)
    base = job.planned({})
    varied = {path for factor in factors for level in factor.levels.values() for path in level}
    check_rates(search_lr, overrides.asked() | varied, search_epochs)
    _check_levels(factors, job)
    target = out or RUNS / f"ablate-{base.data.dataset}-{base.model.arch}"
    numbers = range(job.first_seed, job.first_seed + seeds)
    grid = combinations(factors)
    with claimed(target, "running an ablation", hint="wait until it ends, or choose another --out"):
        _keep_table(target, [row.folder for row in grid], numbers)
        rows, runs = _planned(grid, target, numbers, job)
        if search_lr:
            trials = {
                name: prepare_search(path, job.call(own), search_lr, search_epochs)
                for name, (path, own) in runs.items()
            }
            rows, runs = _with_rates(rows, runs, trials, job.run(trials), numbers)
        cells = {
            name: {
                seed: prepare_cell(path / f"seed-{seed}", job.call(dataclasses.replace(own, seed=seed)))
                for seed in numbers
            }
            for name, (path, own) in runs.items()
        }
        failures = job.run(cells)
        costs = {
            name: {FOLDER: prepare_measurement(path, job.call(own)) if measure else path / FOLDER}
            for name, (path, own) in runs.items()
        }
        lost = job.run(costs, most=1) if measure else {}
        result = Ablation(
            folder=target,
            rows=[_with_cost(row, costs) for row in _figures(rows, cells, failures)],
            unmeasured={name: lost[path] for name, paths in costs.items() for path in paths.values() if path in lost},
        )
        write_tables(result)
    return result


@dataclasses.dataclass(frozen=True)
class _Job:
    """What all cells of an ablation share."""

    data: Path
    recipe: str | None
    gpus: int
    workers: int | None
    jobs: int
    overrides: TrainOverrides
    progress: Progress

    @property
    def first_seed(self) -> int:
        """Seed of each row's first run, and of the trials of a search."""
        return self.overrides.seed or defaults.SEED

    def with_levels(self, levels: dict[str, str]) -> TrainOverrides:
        """Return the settings of a row. A level of the family includes all that is specific to it."""
        own = self.overrides
        model = levels.get("model.name", own.model)
        others = {path: value for path, value in levels.items() if path != "model.name"}
        return dataclasses.replace(own, model=model, seed=self.first_seed, settings={**own.settings, **others})

    def planned(self, levels: dict[str, str]) -> RunConfig:
        """Return the settings of a run with `levels`."""
        runtime = set_up(min(self.gpus, 1))
        return plan(self.data, runtime=runtime, recipe=self.recipe, overrides=self.with_levels(levels))

    def call(self, own: TrainOverrides) -> dict[str, Any]:
        """Return the description of a cell with the settings `own`."""
        return {"data": str(self.data), "workers": self.workers, "recipe": self.recipe, "overrides": own.given()}

    def run(self, cells: Mapping[str, Mapping[Any, Path]], most: int | None = None) -> dict[Path, str]:
        """Run the unfinished cells of each row, at most `most` at a time; returns the reasons for those that failed."""
        todo = [path for paths in cells.values() for path in paths.values() if not is_finished(path)]
        todo.sort(key=lambda path: path.name)  # all rows of one seed before the next: a table is complete early
        return run_queue(todo, places(self.gpus, self.jobs)[:most], self.progress) if todo else {}


_Runs = dict[str, tuple[Path, TrainOverrides]]
"""Folder and settings of each row that can run."""


def _with_rates(
    rows: Sequence[Row],
    runs: _Runs,
    trials: dict[str, dict[float, Path]],
    failures: dict[Path, str],
    seeds: Sequence[int],
) -> tuple[list[Row], _Runs]:
    """Return the rows and runs with the learning rates that the finished trials choose; a row without one failed."""
    found = {name: choose_rate(paths) for name, paths in trials.items()}
    complete = []
    for row in rows:
        searched = found.get(row.name)
        row = dataclasses.replace(row, searched=searched)
        if searched is not None and searched.lr is None:
            why = next(failures[path] for path in trials[row.name].values() if path in failures)
            failed = dict.fromkeys(seeds, f"every learning rate of the search failed: {why}")
            row = dataclasses.replace(row, failed=failed)
        complete.append(row)
    chosen = {name: (path, dataclasses.replace(own, lr=found[name].lr)) for name, (path, own) in runs.items()}
    return complete, {name: run for name, run in chosen.items() if run[1].lr is not None}


def _planned(grid: Sequence[Combination], target: Path, seeds: Sequence[int], job: _Job) -> tuple[list[Row], _Runs]:
    """Return a row for each combination, and the runs of those that are valid; their initial weights are here."""
    rows, runs, starts = [], {}, {}
    for combination in grid:
        row = _row(combination)
        try:
            config = job.planned(combination.settings)
        except ConfigError as error:  # each level is valid, but not in this combination
            rows.append(dataclasses.replace(row, failed=dict.fromkeys(seeds, str(error))))
            continue
        starts[config.train.init, config.model.name, config.model.arch] = config
        rows.append(dataclasses.replace(row, paper_top1=paper_top1(config.model, config.data.dataset)))
        runs[row.name] = target / combination.folder, job.with_levels(combination.settings)
    for config in starts.values():
        find_start(config, asked="train.init" in job.overrides.asked(), progress=job.progress)
    return rows, runs


def _with_cost(row: Row, costs: Mapping[str, Mapping[str, Path]]) -> Row:
    """Return `row` with its measurement, of this or an earlier call."""
    path = costs.get(row.name, {}).get(FOLDER)
    return row if path is None else dataclasses.replace(row, measured=measured(path))


def write_tables(result: Ablation) -> None:
    """Write the table in every format, and the plot."""
    from tdpn_core.ablation.plot import write_cost_plot, write_plot

    write_json(result.folder / "table.json", plain_rows(result.rows))
    write_text(result.folder / "table.csv", csv_table(result.rows))
    write_text(result.folder / "table.md", markdown_table(result.rows))
    write_text(result.folder / "table.tex", latex_table(result.rows))
    write_plot(result.rows, result.folder)
    write_cost_plot(result.rows, result.folder)
    write_text(result.folder / "table.html", html_table(result.rows, result.folder))


def _check_levels(factors: Sequence[Factor], job: _Job) -> None:
    """Check that every single level makes a valid network, to detect misspellings early."""
    for factor in factors:
        for name, level in factor.levels.items():
            try:
                job.planned(level)
            except UsageError as error:
                raise check_level(factor, name, error.what) from error


def _keep_table(folder: Path, rows: Sequence[str], seeds: Sequence[int]) -> None:
    """Record the grid of the table in `folder`; it may grow, but the table of another grid is not replaced.

    Raises:
        UsageError: the existing table has a row or seed that the grid lacks.
    """
    path = folder / GRID
    if path.exists():
        stored = json.loads(path.read_text())
        for name, given in (("rows", rows), ("seeds", seeds)):
            lacking = [value for value in stored[name] if value not in given]
            if lacking:
                what = f"contains the table of another grid: this one lacks its {name[:-1]} {lacking[0]}"
                raise UsageError(what, where=folder, hint="choose another --out, or include all its values")
    write_json(path, {"rows": list(rows), "seeds": list(seeds)})


def _row(combination: Combination) -> Row:
    return Row(
        name=combination.name,
        levels=combination.levels,
        seeds=[],
        scores={},
        difference=None,
        p_value=None,
        parameters=None,
        gmac=None,
        clips_per_second=None,
        paper_top1=None,
        failed={},
    )


def _figures(rows: list[Row], cells: dict[str, dict[int, Path]], failures: dict[Path, str]) -> list[Row]:
    """Return the rows with their cells' results and failures."""
    results = {
        name: {seed: result_of(path) for seed, path in paths.items() if is_finished(path)}
        for name, paths in cells.items()
    }
    complete = []
    for number, row in enumerate(rows):
        failed = {seed: failures[path] for seed, path in cells.get(row.name, {}).items() if path in failures}
        compared = compare(row, results.get(row.name, {}), results.get(rows[0].name, {}) if number else {})
        complete.append(dataclasses.replace(compared, failed=row.failed | failed))
    return adjust(complete)
