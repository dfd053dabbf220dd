"""HTML report: metrics, classes, confusions, misclassified clips, training curves, settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from tdpn_core.errors import TdpnError
from tdpn_core.evaluation.evaluate import Evaluation
from tdpn_core.evaluation.metrics import Metrics
from tdpn_core.evaluation.multilabel import MultilabelMetrics
from tdpn_core.evaluation.report.multilabel import LABEL_COLUMNS, label_headline, ranked_labels, without_clips
from tdpn_core.evaluation.report.previews import Films
from tdpn_core.evaluation.report.published import published_rows
from tdpn_core.evaluation.report.text import (
    calibrated,
    cautions,
    confused_rows,
    covered,
    epic_rows,
    is_partial,
    met_classes,
    title,
    unmet,
    unscored_subsets,
    validated,
)
from tdpn_core.html_report import Section, render_page
from tdpn_core.html_report.charts import line_chart, matrix_chart
from tdpn_core.html_report.components import (
    Cell,
    Clip,
    Share,
    Tile,
    clips,
    details,
    facts,
    grid,
    note,
    table,
    text,
    tiles,
    warning,
)
from tdpn_core.labels import classes_of

_EXTREMES = 10
"""Classes in each of the tables of best and worst."""

_WRONG = 8
"""Confident errors shown per head."""

_PAIRS = 6
"""Classes per head for which a right and a wrong clip are shown."""

CONFIDENT = 0.5
"""Probability from which an error counts as confident: more than all other classes together."""


def html(evaluation: Evaluation) -> str:
    """Return the complete, self-contained page."""
    origin = evaluation.scores.origin
    sections = [Section("Result", _result(evaluation))]
    films = Films(Path(origin.data), evaluation.split)
    for head, found in evaluation.multilabel.items():
        sections += [
            Section("Classes", _label_classes(found)),
            Section("Probable and wrong", _wrong_labels(evaluation, head, films)),
        ]
    for head, metrics in evaluation.heads.items():
        of = f", {head}" if len(evaluation.heads) > 1 else ""
        sections += [
            Section(f"Classes{of}", _classes(metrics)),
            Section(f"Confusion{of}", _confusion(metrics)),
            Section(f"Confidently wrong{of}", _wrong(evaluation, head, films)),
            Section(f"Right and wrong by class{of}", _pairs(evaluation, head, films)),
            Section(f"Calibration{of}", [_calibration(metrics)]),
        ]
    sections += [
        Section("Training", _training(Path(origin.checkpoint).parent / "metrics.csv")),
        Section("Settings and data", _settings(evaluation)),
    ]
    lead = f"{origin.views} views (clips in time x crops). {covered(evaluation)}"
    return render_page(title(evaluation), sections, lead=lead)


def _result(evaluation: Evaluation) -> list[Markup]:
    blocks = [warning(f"{line}.") for line in cautions(evaluation)]
    blocks += [note(line) for line in evaluation.scores.origin.notes]
    if not evaluation.is_measured:
        return [*blocks, text("No clip has a label, so there are scores but no metrics.")]
    if is_partial(evaluation):
        blocks.append(warning(covered(evaluation)))
    if evaluation.epic:
        top, *rows = epic_rows(evaluation)
        cells: list[list[Cell]] = [[*row[:2], int(row[2]), *row[3:]] for row in rows]
        blocks.append(table("EPIC-KITCHENS' official metrics: an action is a verb and a noun", top, cells))
        blocks += [note(line) for line in filter(None, [unscored_subsets(evaluation)])]
    for head, metrics in evaluation.heads.items():
        blocks.append(tiles(_tiles(metrics, f"{head} " if len(evaluation.heads) > 1 else "")))
    for found in evaluation.multilabel.values():
        blocks.append(tiles(_label_tiles(found)))
    if own := validated(evaluation):
        blocks.append(note(own))
    blocks += [note(f"Calibrated, {line}.") for line in calibrated(evaluation)]
    for name, (top, *rows) in published_rows(evaluation).items():
        blocks.append(table(name, top, rows))
    return blocks


def _tiles(metrics: Metrics, prefix: str) -> list[Tile]:
    found = [
        Tile(f"{prefix}top-{k}", f"{value:.1%}", _interval(metrics.top_intervals[k]))
        for k, value in sorted(metrics.top.items())
    ]
    guess = max(row.clips for row in metrics.classes) / metrics.clips
    return [
        *found,
        Tile(
            f"{prefix}mean class accuracy", f"{metrics.mean_class_accuracy:.1%}", _interval(metrics.mean_class_interval)
        ),
        Tile(f"{prefix}calibration error", f"{metrics.calibration.error:.1%}", "expected, 15 bins"),
        Tile(f"{prefix}largest class", f"{guess:.1%}", "accuracy of always predicting it"),
        Tile(f"{prefix}labelled clips", f"{metrics.clips:,}"),
    ]


def _label_tiles(metrics: MultilabelMetrics) -> list[Tile]:
    _, (_, main, _), *rest = label_headline(metrics)
    return [
        Tile("mAP", main, _interval(metrics.map_interval)),
        *(Tile(name, value) for name, value, _ in rest),
        Tile("labelled clips", f"{metrics.clips:,}"),
    ]


def _label_classes(metrics: MultilabelMetrics) -> list[Markup]:
    cells: list[list[Cell]] = [
        [
            row.name,
            row.clips,
            Share(row.average_precision),
            f"{row.threshold:.3f}",
            *map(Share, (row.precision, row.recall, row.f1)),
        ]
        for row in ranked_labels(metrics)
    ]
    blocks = [table("From best to worst", list(LABEL_COLUMNS), cells)]
    return blocks + [note(line) for line in filter(None, [without_clips(metrics)])]


def _wrong_labels(evaluation: Evaluation, head: str, films: Films) -> list[Markup]:
    """Return the most probable classes that clips do not have, one a clip."""
    probabilities, labels = evaluation.probabilities[head], evaluation.labels[head]
    names = evaluation.scores.classes[head]
    absent = np.where(labels == 0, probabilities, -1.0)
    guess, sure = absent.argmax(axis=1), absent.max(axis=1)
    chosen = [clip for clip in np.argsort(-sure, kind="stable")[:_WRONG].tolist() if sure[clip] >= CONFIDENT]
    if not chosen:
        return [note(f"No clip has a probability of at least {CONFIDENT:.0%} for a class that it does not have.")]
    shown: list[Clip] = []
    rows: list[list[Cell]] = []
    for clip in chosen:
        true = ", ".join(names[label] for label in classes_of(labels, clip)) or "none of the classes"
        rows.append([evaluation.ids[clip], true, names[guess[clip]], Share(float(sure[clip]))])
    try:
        for clip, (_, own, wrong, _) in zip(chosen, rows, strict=True):
            name = evaluation.ids[clip]
            shown.append(Clip(name, films.of(name), [f"{sure[clip]:.0%} {wrong}", f"{own} (true)", name]))
    except TdpnError as error:
        caption = "Most probable classes that clips do not have"
        return [
            table(caption, ["clip", "true", "predicted", "probability"], rows),
            note(f"Not all can be shown: {error}"),
        ]
    return [clips(shown)]


def _interval(interval: tuple[float, float]) -> str:
    return f"95 %: {interval[0]:.1%} to {interval[1]:.1%}"


def _classes(metrics: Metrics) -> list[Markup]:
    rows = [row for row in metrics.classes if row.accuracy is not None]
    ranked = sorted(rows, key=lambda row: -(row.accuracy or 0))
    head = ["class", "clips", "accuracy", "precision"]

    def cells(chosen: list[Any]) -> list[list[Any]]:
        return [[row.name, row.clips, Share(row.accuracy), Share(row.precision)] for row in chosen]

    blocks = []
    if len(ranked) > 2 * _EXTREMES:
        worst = list(reversed(ranked[-_EXTREMES:]))
        blocks.append(grid([table("Best", head, cells(ranked[:_EXTREMES])), table("Worst", head, cells(worst))]))
        blocks.append(details("Every class", [table("Every class", head, cells(met_classes(metrics)))]))
    else:
        blocks.append(table("From best to worst", head, cells(ranked)))
    return blocks + [note(line) for line in filter(None, [unmet(metrics)])]


def _confusion(metrics: Metrics) -> list[Markup]:
    met = np.flatnonzero(metrics.confusion.sum(axis=0) + metrics.confusion.sum(axis=1))
    counts = metrics.confusion.sum(axis=1, keepdims=True)
    shares = (metrics.confusion / np.maximum(counts, 1))[np.ix_(met, met)]
    numbers = metrics.confusion[np.ix_(met, met)]
    names = [row.name for row in met_classes(metrics)]
    caption = (
        "Each row is a class, each column a predicted class; the stronger the colour, the larger the share of the row"
    )
    blocks = [matrix_chart(caption, shares, names, verb="taken for", counts=numbers)] if len(names) > 1 else []
    top, *rows = confused_rows(metrics)
    if rows:
        cells: list[list[Cell]] = [[true, guess, int(count)] for true, guess, count in rows]
        return [grid([*blocks, table("Most confused pairs", top, cells)])]
    return [*blocks, note("No clip was predicted as another class.")]


def _wrong(evaluation: Evaluation, head: str, films: Films) -> list[Markup]:
    """Return the errors with the highest probability, at least `CONFIDENT`."""
    probabilities, labels = evaluation.probabilities[head], evaluation.labels[head]
    guess, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero((labels >= 0) & (guess != labels))
    if not len(wrong):
        return [note("No clip was predicted as another class.")]
    confident = wrong[sure[wrong] >= CONFIDENT]
    blocks = []
    if few := len(wrong) - len(confident):
        blocks.append(note(f"{few} of {len(wrong)} errors have a probability below {CONFIDENT:.0%} and are not shown."))
    chosen = confident[np.argsort(-sure[confident], kind="stable")][:_WRONG].tolist()
    return [*blocks, *_shown(evaluation, head, chosen, films, "Most confident errors")]


def _pairs(evaluation: Evaluation, head: str, films: Films) -> list[Markup]:
    """Return a right next to a wrong clip, for the classes of lowest accuracy that have both."""
    probabilities, labels = evaluation.probabilities[head], evaluation.labels[head]
    guess, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    rows = [(row.accuracy, label) for label, row in enumerate(evaluation.heads[head].classes) if row.accuracy]
    mixed = [label for accuracy, label in sorted(rows) if accuracy < 1][:_PAIRS]
    chosen = []
    for label in mixed:
        own = labels == label
        for rows_of in (np.flatnonzero(own & (guess == label)), np.flatnonzero(own & (guess != label))):
            chosen.append(int(rows_of[np.argmax(sure[rows_of])]))
    return _shown(evaluation, head, chosen, films, "A right and a wrong clip of each class") if chosen else []


def _shown(evaluation: Evaluation, head: str, chosen: list[int], films: Films, caption: str) -> list[Markup]:
    """Return clips as videos with their predictions, or as a table if they cannot be shown."""
    probabilities, labels = evaluation.probabilities[head], evaluation.labels[head]
    guess, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    names = evaluation.scores.classes[head]
    shown, failed = [], ""
    try:
        for number in chosen:
            name, true = evaluation.ids[number], names[labels[number]]
            first = f"{sure[number]:.0%} {names[guess[number]]}"
            right = guess[number] == labels[number]
            second = "right" if right else f"{probabilities[number, labels[number]]:.0%} {true} (true)"
            shown.append(Clip(name, films.of(name), [first, second, name]))
    except TdpnError as error:
        failed = str(error)
    blocks = [clips(shown)] if shown else []
    if failed:
        cells = [
            [evaluation.ids[number], names[labels[number]], names[guess[number]], Share(float(sure[number]))]
            for number in chosen
        ]
        blocks.append(table(caption, ["clip", "true", "predicted", "probability"], cells))
        blocks.append(note(f"Not all can be shown: {failed}"))
    return blocks


def _calibration(metrics: Metrics) -> Markup:
    bins = metrics.calibration.bins
    series = {
        "measured": [(one.confidence, one.accuracy) for one in bins],
        "perfect": [(0.0, 0.0), (1.0, 1.0)],
    }
    return line_chart("Accuracy by predicted probability", series, x="confidence", y="", percent=True)


def _training(path: Path) -> list[Markup]:
    """Return the training curves of the checkpoint's run, if `metrics.csv` is next to the checkpoint."""
    if not path.is_file():
        return []
    try:
        rows = pd.read_csv(path)
    except (OSError, ValueError):
        return []
    if "epoch" not in rows or rows.empty:
        return []
    charts = []
    for caption, names, percent in (
        ("Cross-entropy by epoch", {"training": "loss", "validation": "val_loss"}, False),
        ("mAP by epoch", {"validation": "val_map"}, True)
        if "val_map" in rows
        else ("Top-1 by epoch", {"training": "top1", "validation": "val_top1"}, True),
        ("Learning rate by epoch", {"learning rate": "lr"}, False),
    ):
        series = {
            name: list(zip(rows["epoch"].tolist(), rows[column].tolist(), strict=True))
            for name, column in names.items()
            if column in rows
        }
        if series:
            charts.append(line_chart(caption, series, x="epoch", y="", percent=percent))
    return [grid(charts)]


def _settings(evaluation: Evaluation) -> list[Markup]:
    origin = evaluation.scores.origin
    coverage = origin.coverage
    found = {
        "checkpoint": origin.checkpoint,
        "sha256 of its weights": origin.weights,
        "data": origin.data,
        "sha256 of its manifest": origin.data_digest,
        "split": origin.split,
        "views": origin.views,
        **({} if coverage.listed is None else {"clips in the data set's list": coverage.listed}),
        "clips on disk": coverage.on_disk,
        "clips decoded": coverage.decoded,
        "clips scored": coverage.scored,
        **{f"weight of {name}": f"{weight:g}" for name, weight in origin.fused.items()},
    }
    blocks = [facts(found)]
    if coverage.missing:
        rows = [[name, reason] for name, reason in coverage.missing.items()]
        blocks.append(table("Clips without scores", ["clip", "why"], rows))
    settings = {name: value for name, value in _flat(origin.settings) if not name.startswith("data.classes.")}
    if settings:
        blocks.append(details("Settings of the run", [facts(settings)]))
    return blocks


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Flatten nested settings to names such as `train.lr` and values."""
    rows: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, value))
    return rows
