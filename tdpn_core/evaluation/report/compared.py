"""Comparison of several models on the same clips, as a table and as plain values."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from tdpn_core.evaluation.evaluate import Comparison, Evaluation
from tdpn_core.evaluation.report.published import Row
from tdpn_core.evaluation.report.text import markdown_table, summary
from tdpn_core.files import write_json, write_text

EXPLANATION = (
    "p: two-sided exact paired permutation test over the clips (McNemar's): probability of a difference at least this "
    "large by chance. It does not measure the variation over random seeds."
)


LABELS_EXPLANATION = (
    "p: randomisation test over the clips: share of 1,000 random exchanges of the two models' scores, of a random "
    "half of the clips, after which mAP differs at least as much. It does not measure the variation over random seeds. "
    "Clips won and lost: by their most probable class."
)


def write_comparison(comparison: Comparison) -> Path:
    """Write `comparison.md` and `comparison.json` to the comparison's folder; returns the path of the former."""
    write_json(comparison.folder / "comparison.json", compared(comparison))
    name = comparison.evaluations[0].scores.origin
    parts = [f"# {len(comparison.evaluations)} models on {name.dataset}, {name.split} split"]
    explanation = LABELS_EXPLANATION if comparison.evaluations[0].multilabel else EXPLANATION
    parts += [markdown_table(comparison_rows(comparison)), explanation]
    write_text(comparison.folder / "comparison.md", "\n\n".join(parts) + "\n")
    return comparison.folder / "comparison.md"


def compared(comparison: Comparison) -> dict[str, Any]:
    """Return each model's result and the differences from the first, as plain values."""
    differences = [
        {"checkpoint": other.scores.origin.checkpoint}
        | {head: dataclasses.asdict(paired) for head, paired in heads.items()}
        for other, heads in zip(comparison.evaluations[1:], comparison.paired, strict=True)
    ]
    return {
        "models": [summary(evaluation) for evaluation in comparison.evaluations],
        "compared_with": comparison.evaluations[0].scores.origin.checkpoint,
        "differences": differences,
    }


def comparison_rows(comparison: Comparison) -> list[Row]:
    """Return a heading, and a row per model and head."""
    rows: list[Row] = []
    several = bool(comparison.evaluations[0].multilabel)
    heads = list(comparison.evaluations[0].multilabel if several else comparison.evaluations[0].heads)
    for head in heads:
        for number, evaluation in enumerate(comparison.evaluations):
            origin = evaluation.scores.origin
            paired = comparison.paired[number - 1].get(head) if number else None
            difference = (
                ("", "", "")
                if paired is None
                else (f"{paired.difference:+.2%}", f"+{paired.gained} -{paired.lost}", f"{paired.p_value:.2g}")
            )
            name = origin.checkpoint if len(heads) == 1 else f"{origin.checkpoint}, {head}"
            rows.append((name, origin.views, *_scores(evaluation, head), *difference))
    metrics = ("mAP", "F1") if several else ("top-1", "mean class")
    return [("model", "views", "clips", *metrics, "difference", "clips won, lost", "p"), *rows]


def _scores(evaluation: Evaluation, head: str) -> tuple[str, str, str]:
    """Return the number of clips and two metrics of a model."""
    if head in evaluation.multilabel:
        labels = evaluation.multilabel[head]
        return str(labels.clips), f"{labels.map:.2%}", f"{labels.f1:.2%}"
    metrics = evaluation.heads[head]
    top1 = f"{metrics.top[1]:.2%}" if 1 in metrics.top else ""
    return str(metrics.clips), top1, f"{metrics.mean_class_accuracy:.2%}"
