"""What a network's own source reports on the same clips, beside what was measured here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tdpn_core.evaluation.evaluate import Evaluation
from tdpn_core.model.published import PUBLISHED

CLASSES = {
    "kinetics400": {"action": 400},
    "something-v1": {"action": 174},
    "something-v2": {"action": 174},
    "epic55": {"verb": 125, "noun": 352},
}
"""Of these data sets by head: a part of one is another, and easier, task."""

NAMES = {
    "kinetics400": "Kinetics-400",
    "something-v1": "Something-Something V1",
    "something-v2": "Something-Something V2",
    "epic55": "EPIC-KITCHENS",
}
"""Of data sets as `tdpn prep` calls them, in the tables of `PUBLISHED`, which are of the validation split."""

Row = tuple[str, ...]


def published_rows(evaluation: Evaluation) -> dict[str, list[Row]]:
    """For each title, a table with its head: ours, then the published ones of this family and depth on this split.

    Nothing where nothing was published, for fused scores, for a network of another width, or a part of the classes.
    """
    origin = evaluation.scores.origin
    model: Mapping[str, Any] = origin.settings.get("model", {})
    classes = {head: len(names) for head, names in evaluation.scores.classes.items()}
    if CLASSES.get(origin.dataset) != classes or origin.split == "train" or origin.fused or model.get("width", 1) != 1:
        return {}
    if origin.parts:
        return {}  # the data has some of the classes only
    own = next((rows for name, rows in PUBLISHED.items() if name == model.get("name")), ())
    tables = {}
    for head, metrics in evaluation.heads.items():
        data = NAMES[origin.dataset] + (f" {head}" if len(evaluation.heads) > 1 else "")
        data += " (test)" if origin.split == "test" else ""
        rows: list[Row] = [
            (row.source, f"{row.clip}{f', {row.note}' if row.note else ''}", *map(_percent, (row.top1, row.top5)))
            for row in own
            if row.data == data and row.arch == model.get("arch")
        ]
        if rows:
            top = (f"{metrics.top[k]:.1%}" if k in metrics.top else "–" for k in (1, 5))
            ours = ("this checkpoint", f"{model['num_frames']} frames, {origin.views} views", *top)
            title = f"Beside what was published of {origin.model} on {data}"
            tables[title] = [("source", "clip", "top-1", "top-5"), ours, *rows]
    return tables


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:g}%"
