"""Write the files of an evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tdpn_core.evaluation.evaluate import Evaluation
from tdpn_core.evaluation.report.html import html
from tdpn_core.evaluation.report.multilabel import label_columns
from tdpn_core.evaluation.report.text import markdown, summary
from tdpn_core.files import write_json, write_text
from tdpn_core.labels import is_multilabel


def write_report(evaluation: Evaluation, folder: Path | None = None) -> Path:
    """Write `report.html`, `report.md`, `results.json`, and `predictions-*.csv` and `confusion-*.csv` for each head.

    The default folder is the evaluation's own.

    Returns:
        Path of `report.md`.
    """
    target = folder or evaluation.folder
    for head, probabilities in evaluation.probabilities.items():
        write_text(
            target / f"predictions-{head}.csv", _predictions(evaluation, head, probabilities).to_csv(index=False)
        )
    for head, metrics in evaluation.heads.items():
        names = [row.name for row in metrics.classes]
        confusion = pd.DataFrame(metrics.confusion, index=pd.Index(names, name="true \\ predicted"), columns=names)
        write_text(target / f"confusion-{head}.csv", confusion.to_csv())
    write_json(target / "results.json", summary(evaluation) | {"config": evaluation.scores.origin.settings})
    write_text(target / "report.md", markdown(evaluation))
    write_text(target / "report.html", html(evaluation))
    return target / "report.md"


def _predictions(evaluation: Evaluation, head: str, probabilities: np.ndarray) -> pd.DataFrame:
    names = np.array(evaluation.scores.classes[head], dtype=object)
    labels = evaluation.labels[head]
    if is_multilabel(labels):
        thresholds = evaluation.thresholds(head)
        columns = label_columns(evaluation.scores.classes[head], probabilities, labels, thresholds)
        return pd.DataFrame({"clip": evaluation.ids, **columns})
    return pd.DataFrame(
        {
            "clip": evaluation.ids,
            "true": np.where(labels >= 0, names[labels], ""),
            "predicted": names[probabilities.argmax(axis=1)],
            "probability": probabilities.max(axis=1).round(6),
        }
    )
