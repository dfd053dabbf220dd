"""The report as Markdown and as plain values."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tdpn_core import defaults
from tdpn_core.config.schema import UNKNOWN_VIEWS
from tdpn_core.evaluation.epic import has_subset_lists
from tdpn_core.evaluation.evaluate import Evaluation
from tdpn_core.evaluation.metrics import ClassMetrics, HeadFit, Metrics
from tdpn_core.evaluation.multilabel import ThresholdsFit
from tdpn_core.evaluation.report.multilabel import label_headline, label_rows, plain_labels, without_clips
from tdpn_core.evaluation.report.published import Row, published_rows
from tdpn_core.labels import METRIC_TITLES, known
from tdpn_core.wording import counted


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """Return the result as plain values, for `--json`."""
    origin = evaluation.scores.origin
    coverage = origin.coverage
    return {
        "checkpoint": origin.checkpoint,
        "weights": origin.weights,
        "model": origin.model,
        "dataset": origin.dataset,
        "data": origin.data,
        "data_digest": origin.data_digest,
        "split": origin.split,
        "views": origin.views,
        "clips": evaluation.clips,
        "rejected": coverage.on_disk - coverage.decoded,
        "coverage": dataclasses.asdict(coverage),
        "fused": origin.fused,
        "same_data": origin.trained_on == origin.data_digest if origin.trained_on else None,
        "trained_on_digest": origin.trained_on,
        "training_clips": None if origin.training is None else dataclasses.asdict(origin.training),
        "class_subsets": {head: list(counts) for head, counts in origin.parts.items()},
        "run_validation": origin.validation,
        "notes": [*origin.notes, *cautions(evaluation)],
        "seconds": round(evaluation.seconds, 3),
        "heads": {head: _head(metrics) for head, metrics in evaluation.heads.items()}
        | {head: plain_labels(metrics) for head, metrics in evaluation.multilabel.items()},
        "multilabel": evaluation.scores.multilabel,
        "epic": [dataclasses.asdict(row) for row in evaluation.epic],
        "calibrated": {head: dataclasses.asdict(one) for head, one in evaluation.calibrated.items()},
    }


def markdown(evaluation: Evaluation) -> str:
    """Return the report as Markdown."""
    origin = evaluation.scores.origin
    parts = [
        f"# {title(evaluation)}",
        f"{covered(evaluation)} {origin.views} views (clips in time x crops), {evaluation.seconds:.1f} s.",
        f"Checkpoint `{origin.checkpoint}` (weights `{origin.weights[:16]}`), data `{origin.data}` "
        f"(digest `{origin.data_digest[:16]}`).",
        *filter(None, [validated(evaluation)]),
        *origin.notes,
        *(f"**Note:** {line}." for line in cautions(evaluation)),
        *(f"Calibrated, {line}." for line in calibrated(evaluation)),
    ]
    if not evaluation.is_measured:
        parts.append("No clip has a label, so there are scores but no metrics.")
    if evaluation.epic:
        parts += [
            "## EPIC-KITCHENS",
            markdown_table(epic_rows(evaluation)),
            *filter(None, [unscored_subsets(evaluation)]),
        ]
    for name, rows in published_rows(evaluation).items():
        parts += [f"## {name}", markdown_table(rows)]
    for head, metrics in evaluation.heads.items():
        parts += [f"## {head}", markdown_table(headline(metrics)), "### Classes", markdown_table(class_rows(metrics))]
        parts += filter(None, [unmet(metrics)])
        confused = confused_rows(metrics)
        if len(confused) > 1:
            parts += ["### Most confused", markdown_table(confused)]
    for head, found in evaluation.multilabel.items():
        parts += [f"## {head}", markdown_table(label_headline(found)), "### Classes", markdown_table(label_rows(found))]
        parts += filter(None, [without_clips(found)])
    return "\n\n".join(parts) + "\n"


def calibrated(evaluation: Evaluation) -> list[str]:
    """Return a sentence for each calibrated head."""
    lines = []
    for head, one in evaluation.calibrated.items():
        if isinstance(one, ThresholdsFit):
            what = f"{head}: the thresholds with the highest F1 of each class on {counted(one.clips, 'clip')}; mean F1"
            lines.append(f"{what} {one.f1_before:.1%} before and {one.f1_after:.1%} after")
            continue
        wrong = "" if one.wrong_rejected is None else f" and rejects {one.wrong_rejected:.1%} of the wrong ones"
        lines.append(
            f"{head}: temperature {one.temperature:.3f}, calibration error {one.error_before:.1%} before and "
            f"{one.error_after:.1%} after; the threshold {one.threshold:.1%} keeps {one.right_kept:.1%} of the right "
            f"answers{wrong}, on {one.clips} clips"
        )
    return lines


def title(evaluation: Evaluation) -> str:
    """Return the title: model, data set and split."""
    origin = evaluation.scores.origin
    return f"{origin.model} on {origin.dataset}, {origin.split} split"


def covered(evaluation: Evaluation) -> str:
    """Describe how many clips the metrics include, and how many are missing."""
    coverage = evaluation.scores.origin.coverage
    absent = 0 if coverage.listed is None else coverage.listed - coverage.on_disk
    left = coverage.on_disk - coverage.decoded
    whole = f"{coverage.on_disk} on disk" if coverage.listed is None else f"{coverage.listed} in the data set's list"
    parts = [f"{coverage.scored} {'clip' if coverage.scored == 1 else 'clips'} scored of {whole}"]
    if absent:
        parts.append(f"{absent} {'was' if absent == 1 else 'were'} not on disk when the data was prepared")
    if left:
        parts.append(f"{left} could not be decoded when the data was prepared")
    if coverage.missing:
        parts.append(f"{len(coverage.missing)} could not be read now")
    aside = coverage.decoded - coverage.scored - len(coverage.missing)
    if aside:
        parts.append(f"{aside} {'was' if aside == 1 else 'were'} left out")
    unlabelled = max(int((~known(labels)).sum()) for labels in evaluation.labels.values())
    if unlabelled and evaluation.is_measured:
        parts.append(f"{unlabelled} of the scored have no label")
    return "; ".join(parts) + "."


def cautions(evaluation: Evaluation) -> list[str]:
    """Return caveats of the metrics: other data, training clips among the scored ones, other classes; calibration."""
    origin = evaluation.scores.origin
    lines = []
    if origin.trained_on and origin.trained_on != origin.data_digest:
        lines.append(f"{origin.data} is not the data that the checkpoint was trained on (its digest differs)")
    if (known := origin.training) is not None and known.clips:
        lines.append(
            f"{known.clips} of the {origin.coverage.scored} scored clips are in the run's training split: "
            f"{known.by_id} by name, {known.by_content} by content"
        )
    elif known is None and origin.trained_on and origin.trained_on != origin.data_digest:
        lines.append("the training clips of this checkpoint are unknown, so some of these clips may be among them")
    for head, (present, count) in origin.parts.items():
        among = f"predictions are over all {count}"
        if len(evaluation.scores.classes[head]) == present:
            among = f"predictions are restricted to these {present}, which is an easier task"
        lines.append(f"the data has {present} of the checkpoint's {count} {head} classes; {among}")
    for head in evaluation.multilabel:
        if origin.split == "val" and not evaluation.calibrated and head in origin.thresholds:
            lines.append(f"the thresholds of {head} were chosen on validation clips: F1 on them is too high")
    return [*lines, *(line for head, one in evaluation.calibrated.items() for line in _doubts(head, one))]


def _doubts(head: str, one: HeadFit | ThresholdsFit) -> list[str]:
    """Return why the calibration of a head may be of no use."""
    lines: list[str] = []
    if isinstance(one, ThresholdsFit):
        return lines
    if round(one.error_after, 3) > round(one.error_before, 3):
        change = f"rises from {one.error_before:.1%} to {one.error_after:.1%}"
        lines.append(f"the calibration error of {head} {change}: its probabilities are less reliable than before")
    if one.wrong_rejected == 0:
        lines.append(f"the threshold of {head} rejects none of the wrong answers; a lower --keep-right raises it")
    if one.clips < defaults.FEW_CALIBRATED:
        few = f"{head} is calibrated on {counted(one.clips, 'clip')}, fewer than {defaults.FEW_CALIBRATED}"
        lines.append(f"{few}: its temperature and threshold are uncertain")
    return lines


def validated(evaluation: Evaluation) -> str | None:
    """Describe the run's own validation of these weights, and why it may differ; None if there is none."""
    origin = evaluation.scores.origin
    if not origin.validation or origin.split != "val" or not evaluation.is_measured:
        return None
    found, views = origin.validation, evaluation.config.validation_views
    metric = next(name for name in METRIC_TITLES if name in found)
    score = f"{METRIC_TITLES[metric]} {found[metric]:.2%} at {f'{views} views' if views else UNKNOWN_VIEWS}"
    text = f"The run's own validation after epoch {found['epoch']:g}: {score}"
    reasons = [f"this score is at {origin.views}"] if origin.views != views else []
    reasons += ["this score is on other data"] if origin.trained_on != origin.data_digest else []
    return f"{text}; {' and '.join(reasons)}." if reasons else f"{text}."


def is_partial(evaluation: Evaluation) -> bool:
    """Return whether the split has clips that are not included in the metrics."""
    coverage = evaluation.scores.origin.coverage
    return coverage.scored < (coverage.on_disk if coverage.listed is None else coverage.listed)


def unscored_subsets(evaluation: Evaluation) -> str | None:
    """Describe what EPIC-KITCHENS-100's table lacks, and how to get it; None if it is complete."""
    origin = evaluation.scores.origin
    lists = {"unseen participants": ("unseen", origin.split), "tail classes": ("tail", "verb")}
    lacking = [name for name, (part, key) in lists.items() if key not in origin.subsets.get(part, {})]
    if not evaluation.epic or not has_subset_lists(origin.dataset) or origin.split == "train" or not lacking:
        return None
    return (
        f"{' and '.join(lacking)} are not measured separately: the data was packed without their lists; "
        "give the folder of these lists with --annotations"
    )


def headline(metrics: Metrics) -> list[Row]:
    """Return the metrics of a head with 95 % intervals."""
    rows = [
        (f"top-{k}", f"{value:.2%}", _interval(metrics.top_intervals[k])) for k, value in sorted(metrics.top.items())
    ]
    guess = max(row.clips for row in metrics.classes) / metrics.clips
    return [
        ("metric", "value", "95 % interval"),
        *rows,
        ("mean class accuracy", f"{metrics.mean_class_accuracy:.2%}", _interval(metrics.mean_class_interval)),
        ("calibration error", f"{metrics.calibration.error:.2%}", ""),
        ("always guessing the largest class", f"{guess:.2%}", ""),
    ]


def epic_rows(evaluation: Evaluation) -> list[Row]:
    """Return EPIC-KITCHENS' table."""
    rows = [
        (row.part, row.task, str(row.clips), f"{row.top1:.2%}", _interval(row.top1_interval), f"{row.top5:.2%}")
        for row in evaluation.epic
    ]
    return [("clips of", "task", "clips", "top-1", "95 % interval", "top-5"), *rows]


def class_rows(metrics: Metrics) -> list[Row]:
    """Return a row for each class that occurs."""

    def share(value: float | None) -> str:
        return "–" if value is None else f"{value:.1%}"

    rows = [(row.name, str(row.clips), share(row.accuracy), share(row.precision)) for row in met_classes(metrics)]
    return [("class", "clips", "accuracy", "precision"), *rows]


def met_classes(metrics: Metrics) -> list[ClassMetrics]:
    """Return the classes that have clips or were predicted."""
    return [row for row in metrics.classes if row.clips or row.precision is not None]


def unmet(metrics: Metrics) -> str | None:
    """Describe how many classes do not occur; None if all do."""
    count = len(metrics.classes) - len(met_classes(metrics))
    return f"{count} more classes have no clips here and were never predicted." if count else None


def confused_rows(metrics: Metrics, most: int = 10) -> list[Row]:
    """Return the most frequently confused pairs of classes."""
    errors = metrics.confusion.copy()
    np.fill_diagonal(errors, 0)
    names = [row.name for row in metrics.classes]
    worst = np.argsort(-errors, axis=None, kind="stable")[:most]
    pairs = [(int(errors.flat[i]), *np.unravel_index(i, errors.shape)) for i in worst if errors.flat[i]]
    return [("true", "predicted", "clips"), *((names[true], names[guess], str(count)) for count, true, guess in pairs)]


def _head(metrics: Metrics) -> dict[str, Any]:
    return {
        **{f"top{k}": value for k, value in metrics.top.items()},
        "mean_class_accuracy": metrics.mean_class_accuracy,
        "calibration_error": metrics.calibration.error,
        "intervals": {
            **{f"top{k}": list(interval) for k, interval in metrics.top_intervals.items()},
            "mean_class_accuracy": list(metrics.mean_class_interval),
        },
        "clips": metrics.clips,
        "classes": {
            row.name: {"clips": row.clips, "accuracy": row.accuracy, "precision": row.precision}
            for row in metrics.classes
        },
    }


def _interval(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.2%} to {interval[1]:.2%}"


def markdown_table(rows: list[Row]) -> str:
    """Format a heading and rows as a Markdown table."""
    head, *body = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    rule = " | ".join("---" for _ in rows[0])
    return "\n".join(f"| {line} |" for line in (head, rule, *body))
