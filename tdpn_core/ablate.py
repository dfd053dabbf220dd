"""The paper's Table IV: the same network with neither difference module, either, and both."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

from tdpn_core.config import RunConfig, Temporal
from tdpn_core.evaluate.report import write_report
from tdpn_core.evaluate.run import Evaluation, evaluate
from tdpn_core.files import write_json
from tdpn_core.model.count import Cost, cost
from tdpn_core.progress import SILENT, Progress
from tdpn_core.runs import LAST, RUNS
from tdpn_core.runtime import Runtime, set_up
from tdpn_core.sampling.loader import loader_workers
from tdpn_core.shards import find_prepared
from tdpn_core.train.launch import plan
from tdpn_core.train.loop import train

TABLE_IV: dict[str, tuple[Temporal, Temporal, Temporal, Temporal]] = {
    "none": ("none", "none", "none", "none"),
    "global in low": ("global", "global", "none", "none"),
    "local in high": ("none", "none", "local", "local"),
    "both": ("global", "global", "local", "local"),
}
"""Name of each row, and its module on res2, res3, res4, res5."""

PAPER: dict[str, float] = {"none": 0.740, "global in low": 0.758, "local in high": 0.757, "both": 0.772}
"""Top-1 that the paper prints for each row, on Kinetics-400."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One setting, trained and evaluated."""

    name: str
    folder: Path
    evaluation: Evaluation
    cost: Cost


def ablate(
    *,
    data: Path | None = None,
    out: Path | None = None,
    recipe: str | None = None,
    gpus: int | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
    **adjustments: Any,
) -> list[Row]:
    """Train and evaluate the four rows on the prepared data, each in its own folder below `out`.

    A finished row is not trained again, an unfinished one is continued. `table.json` in `out` is the result.

    Raises:
        ConfigError: `out` holds a row of other settings.
        UsageError, Stopped, TrainingError: see `launch`.
    """
    runtime = set_up(gpus)
    base = plan(find_prepared(data), runtime=runtime, recipe=recipe, **adjustments)
    target = out or RUNS / f"ablate-{base.data.dataset}-{base.model.arch}"
    rows = []
    for number, (name, temporal) in enumerate(TABLE_IV.items(), start=1):
        progress.say(f"row {number} of {len(TABLE_IV)}: {name}")
        config = replace(base, model=replace(base.model, temporal=temporal))
        rows.append(_row(name, config, target / name.replace(" ", "-"), runtime, workers, progress))
    write_json(target / "table.json", [summary(row) for row in rows])
    return rows


def summary(row: Row) -> dict[str, Any]:
    """A row as plain values."""
    (metrics, *_) = row.evaluation.heads.values()
    return {
        "setting": row.name,
        "top1": metrics.top[1],
        "mean_class_accuracy": metrics.mean_class_accuracy,
        "clips": metrics.clips,
        "parameters": row.cost.parameters,
        "gmac": row.cost.gmac["total"],
        "paper_top1": PAPER[row.name],
        "folder": str(row.folder),
    }


def _row(name: str, config: RunConfig, folder: Path, runtime: Runtime, workers: int | None, progress: Progress) -> Row:
    count = loader_workers(runtime.device_type) if workers is None else workers
    resume = (folder / LAST).exists()  # a finished row has no epochs left
    result = train(config, folder, runtime=runtime, workers=count, resume=resume, progress=progress)
    evaluation = evaluate(result.best, runtime=runtime, workers=workers, progress=progress)
    write_report(evaluation)
    return Row(name=name, folder=folder, evaluation=evaluation, cost=cost(config.model))
