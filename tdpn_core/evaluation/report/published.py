"""Compare results with those published for the same network and clips."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tdpn_core import defaults
from tdpn_core.config.families import FAMILIES, find_family
from tdpn_core.datasets.registry import DATASETS
from tdpn_core.evaluation.evaluate import Evaluation

Row = tuple[str, ...]


def published_rows(evaluation: Evaluation) -> dict[str, list[Row]]:
    """Return tables by title: our result, then published ones of this family and depth on this split.

    Empty if nothing was published, for fused scores, another width, or a subset of the classes.
    """
    origin = evaluation.scores.origin
    model: Mapping[str, Any] = origin.settings.get("model", {})
    classes = {head: len(names) for head, names in evaluation.scores.classes.items()}
    spec = DATASETS.get(origin.dataset)
    if spec is None or spec.num_classes != classes:  # a subset of the classes is an easier task
        return {}
    if origin.split == "train" or origin.fused or model.get("width", 1) != 1:
        return {}
    if origin.parts:
        return {}  # the data has some of the classes only
    own = find_family(model["name"]).published if model.get("name") in FAMILIES else ()
    tables = {}
    for head, metrics in evaluation.heads.items():
        data = (spec.published_as or spec.title) + (f" {head}" if len(evaluation.heads) > 1 else "")
        data += " (test)" if origin.split == "test" else ""
        rows: list[Row] = [
            (row.source, f"{row.clip}{f', {row.note}' if row.note else ''}", *map(_percent, (row.top1, row.top5)))
            for row in own
            if row.data == data and row.arch == model.get("arch")
        ]
        if rows:
            top = (f"{metrics.top[k]:.1%}" if k in metrics.top else "–" for k in defaults.TOP_K)
            ours = ("this checkpoint", f"{model['num_frames']} frames, {origin.views} views", *top)
            title = f"Compared with published results of {origin.model} on {data}"
            tables[title] = [("source", "clip", "top-1", "top-5"), ours, *rows]
    return tables


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:g}%"
