"""Multi-label metrics as plain values and as rows of tables."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from tdpn_core.evaluation.multilabel import LabelMetrics, MultilabelMetrics
from tdpn_core.evaluation.report.published import Row
from tdpn_core.labels import Labels
from tdpn_core.wording import agree, counted

LABEL_COLUMNS = ("class", "clips", "average precision", "threshold", "precision", "recall", "F1")


def plain_labels(metrics: MultilabelMetrics) -> dict[str, Any]:
    """Return the metrics of a head for `--json`."""
    values = dataclasses.asdict(metrics)
    classes = {row.pop("name"): row for row in values.pop("classes")}
    return {**values, "map_interval": list(metrics.map_interval), "classes": classes}


def label_headline(metrics: MultilabelMetrics) -> list[Row]:
    """Return the metrics of a head; those that say the same for these clips only once."""
    low, high = metrics.map_interval
    rows: list[Row] = [
        ("mAP", f"{metrics.map:.2%}", f"{low:.2%} to {high:.2%}"),
        ("mAP, micro", f"{metrics.map_micro:.2%}", ""),
    ]
    if metrics.map_charades != metrics.map:
        rows.append(("mAP as Charades defines it", f"{metrics.map_charades:.2%}", ""))
    return [
        ("metric", "value", "95 % interval"),
        *rows,
        ("F1 at the thresholds", f"{metrics.f1:.2%}", ""),
        ("F1 at the thresholds, micro", f"{metrics.f1_micro:.2%}", ""),
        ("most probable class is right", f"{metrics.first_right:.2%}", ""),
        ("mAP of guessing", f"{guessing(metrics):.2%}", ""),
    ]


def label_rows(metrics: MultilabelMetrics) -> list[Row]:
    """Return a row for each class that has clips, the best average precision first."""
    return [LABEL_COLUMNS, *map(_row, ranked_labels(metrics))]


def ranked_labels(metrics: MultilabelMetrics) -> list[LabelMetrics]:
    """Return the classes that have clips, the best average precision first."""
    met = (row for row in metrics.classes if row.clips)
    return sorted(met, key=lambda row: -(row.average_precision or 0))


def without_clips(metrics: MultilabelMetrics) -> str | None:
    """Describe how many classes have no clips; None if all have."""
    count = sum(not row.clips for row in metrics.classes)
    if not count:
        return None
    classes = counted(count, "more class has", "more classes have")
    return f"{classes} no clips here and {agree(count, 'is', 'are')} not measured."


def guessing(metrics: MultilabelMetrics) -> float:
    """Return the expected mAP of random scores: the mean share of the clips that have a class."""
    return float(np.mean([row.clips / metrics.clips for row in metrics.classes if row.clips]))


def label_columns(
    names: list[str], probabilities: npt.NDArray[np.float64], labels: Labels, thresholds: list[float]
) -> dict[str, list[str] | npt.NDArray[np.float64]]:
    """Return the columns of a table of predictions: true and predicted classes, and a probability for each class."""
    said = probabilities >= np.asarray(thresholds)
    return {
        "true": ["|".join(names[label] for label in np.flatnonzero(row == 1)) for row in labels],
        "predicted": ["|".join(names[label] for label in np.flatnonzero(row)) for row in said],
        **{name: probabilities[:, label].round(6) for label, name in enumerate(names)},
    }


def _row(row: LabelMetrics) -> Row:
    shares = (f"{value:.1%}" if value is not None else "–" for value in (row.precision, row.recall, row.f1))
    return (row.name, str(row.clips), f"{row.average_precision:.1%}", f"{row.threshold:.3f}", *shares)
