"""The files that an evaluation leaves: a report to read, results for programs, tables for a spreadsheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tdpn_core.config import to_dict
from tdpn_core.evaluate.metrics import Metrics
from tdpn_core.evaluate.run import Evaluation
from tdpn_core.files import write_json, write_text


def write_report(evaluation: Evaluation, folder: Path | None = None) -> Path:
    """Write `report.md`, `results.json`, and for each head `predictions-*.csv` and `confusion-*.csv`; give the report.

    The folder is `eval-<split>-<views>` beside the checkpoint unless given.
    """
    target = folder or evaluation.checkpoint.parent / f"eval-{evaluation.split}-{evaluation.views}"
    for head, metrics in evaluation.heads.items():
        names = [row.name for row in metrics.classes]
        confusion = pd.DataFrame(metrics.confusion, index=pd.Index(names, name="true \\ predicted"), columns=names)
        write_text(target / f"confusion-{head}.csv", confusion.to_csv())
        write_text(target / f"predictions-{head}.csv", _predictions(evaluation, head, names).to_csv(index=False))
    write_json(target / "results.json", summary(evaluation) | {"config": to_dict(evaluation.config)})
    write_text(target / "report.md", markdown(evaluation))
    return target / "report.md"


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """The result as plain values, for `--json`."""
    return {
        "checkpoint": str(evaluation.checkpoint),
        "data": str(evaluation.data),
        "split": evaluation.split,
        "views": evaluation.views,
        "clips": evaluation.clips,
        "rejected": evaluation.rejected,
        "seconds": round(evaluation.seconds, 3),
        "heads": {
            head: {
                **{f"top{k}": value for k, value in metrics.top.items()},
                "mean_class_accuracy": metrics.mean_class_accuracy,
                "classes": {
                    row.name: {"clips": row.clips, "accuracy": row.accuracy, "precision": row.precision}
                    for row in metrics.classes
                },
            }
            for head, metrics in evaluation.heads.items()
        },
    }


def markdown(evaluation: Evaluation) -> str:
    """The report as Markdown."""
    config = evaluation.config
    parts = [
        f"# {config.model.name} {config.model.arch} on {config.data.dataset}, {evaluation.split} split",
        f"{evaluation.clips} clips, {evaluation.views} views (clips in time x crops), "
        f"{evaluation.seconds:.1f} s. Clips of the data set that could not be decoded: {evaluation.rejected}.",
        f"Checkpoint `{evaluation.checkpoint}`, data `{evaluation.data}` (digest `{config.data.digest[:16]}`).",
    ]
    for head, metrics in evaluation.heads.items():
        parts += [f"## {head}", _table(_headline(metrics)), "### Classes", _table(_classes(metrics))]
        confused = _confused(metrics)
        if confused:
            parts += ["### Most confused", _table(confused)]
    return "\n\n".join(parts) + "\n"


def _headline(metrics: Metrics) -> list[tuple[str, ...]]:
    rows = [(f"top-{k}", f"{value:.2%}") for k, value in metrics.top.items()]
    guess = max(row.clips for row in metrics.classes) / metrics.clips
    return [
        ("metric", "value"),
        *rows,
        ("mean class accuracy", f"{metrics.mean_class_accuracy:.2%}"),
        ("always guessing the largest class", f"{guess:.2%}"),
    ]


def _classes(metrics: Metrics) -> list[tuple[str, ...]]:
    def share(value: float | None) -> str:
        return "–" if value is None else f"{value:.1%}"

    rows = [(row.name, str(row.clips), share(row.accuracy), share(row.precision)) for row in metrics.classes]
    return [("class", "clips", "accuracy", "precision"), *rows]


def _confused(metrics: Metrics, most: int = 10) -> list[tuple[str, ...]]:
    errors = metrics.confusion.copy()
    np.fill_diagonal(errors, 0)
    names = [row.name for row in metrics.classes]
    worst = np.argsort(-errors, axis=None, kind="stable")[:most]
    pairs = [(int(errors.flat[i]), *np.unravel_index(i, errors.shape)) for i in worst if errors.flat[i]]
    rows = [(names[true], names[predicted], str(count)) for count, true, predicted in pairs]
    return [("true", "predicted", "clips"), *rows] if rows else []


def _table(rows: list[tuple[str, ...]]) -> str:
    head, *body = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    rule = " | ".join("---" for _ in rows[0])
    return "\n".join(f"| {line} |" for line in (head, rule, *body))


def _predictions(evaluation: Evaluation, head: str, names: list[str]) -> pd.DataFrame:
    probabilities = evaluation.probabilities[head]
    best = probabilities.argmax(axis=1)
    return pd.DataFrame(
        {
            "clip": evaluation.ids,
            "true": [names[label] for label in evaluation.labels[head]],
            "predicted": [names[label] for label in best],
            "probability": probabilities.max(axis=1).round(6),
        }
    )
