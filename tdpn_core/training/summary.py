"""Final summary of a run: its curves as an image, and one HTML page."""

from __future__ import annotations

import io
from pathlib import Path

from tdpn_core.checkpoint import TrainingState, score_of, standing
from tdpn_core.config.schema import RunConfig, to_dict
from tdpn_core.files import write_bytes, write_text
from tdpn_core.html_report import Section, render_page
from tdpn_core.html_report.charts import line_chart
from tdpn_core.html_report.components import Tile, details, facts, grid, note, table, tiles
from tdpn_core.labels import METRIC_TITLES
from tdpn_core.progress import duration
from tdpn_core.training.start import describe_start
from tdpn_core.training.trackers import flat

CURVES, SUMMARY = "curves.png", "summary.html"
Row = dict[str, float]

_LOSSES = (
    "Both lines of the first chart are the cross-entropy of the main classifier, without label smoothing and auxiliary "
    "head. The training line is the mean over an epoch's batches, of augmented clips and with dropout; the validation "
    "line is measured at its end. The number that training lowers is the column objective."
)


def write_summary(folder: Path, config: RunConfig, state: TrainingState) -> None:
    """Write `curves.png` and `summary.html` of a run with at least one finished epoch."""
    write_bytes(folder / CURVES, curves(state.history))
    write_text(folder / SUMMARY, page(folder.name, config, state))


def best_row(history: list[Row]) -> Row:
    """Return the row of the epoch stored in `best.pt`."""
    return max(history, key=standing)


def chance(config: RunConfig) -> float:
    """Return the mean over heads of the top-1 of a random guess."""
    counts = config.model.num_classes.values()
    return sum(1 / count for count in counts) / len(counts)


def curves(history: list[Row]) -> bytes:
    """Plot cross entropy, top-1 and learning rate over the epochs, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.5))  # a computed layout would draw everything twice
    figure.subplots_adjust(left=0.05, right=0.99, bottom=0.15, top=0.9, wspace=0.15)
    FigureCanvasAgg(figure)
    for axes, (title, names) in zip(figure.subplots(1, 3), _panels(history).items(), strict=True):
        for name, label in names.items():
            points = [(row["epoch"], row[name]) for row in history if name in row]
            if points:
                axes.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 3 else "")
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.ticklabel_format(axis="y", scilimits=(-2, 4))
        axes.grid(alpha=0.3)
        if len(names) > 1:
            axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()


def page(name: str, config: RunConfig, state: TrainingState) -> str:
    """Return the page: results, curves, settings."""
    history, best = state.history, best_row(state.history)
    column, score = score_of(best)
    validated, metric = column != "top1", METRIC_TITLES[column.removeprefix("val_")]
    seconds = sum(row.get("seconds", 0.0) for row in history)
    charts = [
        line_chart(
            title,
            {label: [(row["epoch"], row[key]) for row in history if key in row] for key, label in names.items()},
            x="epoch",
            y=title,
            percent=title in METRIC_TITLES.values(),
        )
        for title, names in _panels(history).items()
    ]
    headline = tiles(
        [
            Tile(f"{'validation' if validated else 'training'} {metric}", f"{score:.1%}", f"epoch {best['epoch']:.0f}"),
            *([] if config.data.multilabel else [Tile("guessing", f"{chance(config):.1%}", "among all classes")]),
            Tile("epochs", f"{state.epoch} of {config.train.epochs}", f"{state.step:,} steps"),
            Tile("training took", duration(seconds), "validation not counted"),
        ]
    )
    columns = list(dict.fromkeys(key for row in history for key in row))
    rows = [[float(row[key]) if key in row else "" for key in columns] for row in history]
    settings = {key: value for key, value in flat(to_dict(config)).items() if not key.startswith("data.classes.")}
    return render_page(
        name,
        [
            Section("Result", [headline, note(_caution(config, validated=validated))]),
            Section("Curves", [grid(charts), note(_LOSSES)]),
            Section("Epochs", [details("Every epoch", [table("Epochs", columns, rows)])]),
            Section("Settings", [details("Every setting", [facts(settings)])]),
        ],
        lead=f"{config.model.name} {config.model.arch} on {config.data.dataset}, recipe {config.recipe}; "
        + describe_start(config),
    )


def _caution(config: RunConfig, *, validated: bool) -> str:
    heads = list(config.model.num_classes)
    mean = f" Accuracies are the mean over {' and '.join(heads)}." if len(heads) > 1 else ""
    averaged = " The averaged weights were validated." if config.train.ema else ""
    if not validated:
        return "No validation clip has a label: the accuracy is measured on the augmented training clips." + mean
    return (
        "The best epoch was chosen on the same validation clips as its accuracy, with one centre view each: it is "
        f"slightly optimistic, more so with fewer clips.{averaged}{mean}"
    )


def _panels(history: list[Row]) -> dict[str, dict[str, str]]:
    scores = {"top-1": {"top1": "training", "val_top1": "validation"}}
    if any("val_map" in row for row in history):
        scores = {"mAP": {"val_map": "validation"}}
    return {
        "cross-entropy": {"loss": "training", "val_loss": "validation"},
        **scores,
        "learning rate": {"lr": "learning rate"},
    }
