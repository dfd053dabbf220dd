"""`tdpn eval`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import tdpn_core
from tdpn_cli import options, output, ranks
from tdpn_core import defaults
from tdpn_core.distributed.command import device_of
from tdpn_core.errors import UsageError

if TYPE_CHECKING:
    from tdpn_core import Comparison, Evaluation, PredictOptions

EXAMPLES = options.epilog(
    "tdpn eval",
    "tdpn eval runs/folder-tdpn-r18",
    "tdpn eval best.pt --views 10x3 --json",
    "tdpn eval slowonly-r50-8x8-k400 --data data/kinetics400",
    "tdpn eval eval-val-10x3/scores.safetensors --topk 1,2,5",
    "tdpn eval best.pt --calibrate",
    "tdpn eval a.pt b.pt",
    "tdpn eval rgb.pt flow.pt --fuse 1,1.5",
    "tdpn eval best.pt --timeline annotations.csv --videos long",
    "tdpn eval best.pt --split test --submission out.zip",
)

_SEGMENTS = ("window", "stride", "threshold", "smooth", "min_length", "nms")
"""Parameters of the command for the segments that a network predicts."""

_OF_FILES = ("files", "timeline", "videos", "out", "as_json")
_WITH_TIMELINE = (*_OF_FILES, "classes", "ema", "family", "trust", "views", "gpus", *_SEGMENTS)
"""Parameters of the command that apply to a timeline: to a file of segments, and to a network."""


def evaluate(
    context: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Checkpoints of tdpn or another project, run folders, names of the zoo, or score files; several "
            "are compared "
            "(default: the newest best.pt under runs/).",
            show_default=False,
        ),
    ] = None,
    data: options.CheckpointData = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help=f"Split: val, train or test (default: {defaults.SPLIT}).",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(
            "--annotations",
            help="Folder of EPIC-KITCHENS' lists of unseen participants and tail classes (default: the data's).",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    timeline: Annotated[
        Path | None,
        typer.Option(
            "--timeline",
            help="Annotated segments of long videos to score against; the file is a network, or the CSV or JSON of "
            "predict --timeline.",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    videos: Annotated[
        Path | None,
        typer.Option(
            "--videos",
            help="Folder of the videos of --timeline (default: that of the annotations).",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    window: options.Window = None,
    stride: options.Stride = None,
    threshold: options.Threshold = None,
    smooth: options.Smooth = None,
    min_length: options.MinLength = None,
    nms: options.Nms = None,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Skip and count clips that cannot be read.", rich_help_panel=options.DATA),
    ] = False,
    allow_mismatch: Annotated[
        bool,
        typer.Option(
            "--allow-mismatch",
            help="Accept frames of another size or rate than in training.",
            rich_help_panel=options.DATA,
        ),
    ] = False,
    classes: options.Classes = None,
    ema: options.Ema = None,
    family: options.ModelSource = None,
    trust: options.Trust = False,
    only_shared: Annotated[
        bool,
        typer.Option(
            "--only-shared-classes",
            help="Predict only the classes that the data has (default: all of the checkpoint).",
            rich_help_panel=options.MODEL,
        ),
    ] = False,
    views: options.EvalViews = None,
    topk: Annotated[
        str,
        typer.Option(
            "--topk", help="Values of k for top-k accuracy, comma-separated.", rich_help_panel=options.EVALUATION
        ),
    ] = options.shown(defaults.TOP_K),
    fuse: Annotated[
        str | None,
        typer.Option(
            "--fuse",
            help="Fuse all files by weighted mean: equal, search, or a weight per file, such as 1,1.5.",
            show_default=False,
            rich_help_panel=options.EVALUATION,
        ),
    ] = None,
    search_on: Annotated[
        str | None,
        typer.Option(
            "--search-on",
            help="Clips for the search of weights: half (the other half is reported), a split, or score files "
            f"(default: {defaults.SEARCH_ON}).",
            show_default=False,
            rich_help_panel=options.EVALUATION,
        ),
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Choose a temperature and a threshold of confidence and store them in the checkpoint, so that "
            "predict can say none of these.",
            rich_help_panel=options.EVALUATION,
        ),
    ] = False,
    keep_right: Annotated[
        float | None,
        typer.Option(
            "--keep-right",
            help=f"Share of the right answers that the threshold keeps (default: {defaults.KEEP_RIGHT:g}).",
            show_default=False,
            rich_help_panel=options.EVALUATION,
        ),
    ] = None,
    gpus: options.Gpus = None,
    processes: options.Processes = None,
    workers: options.Workers = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Output folder of the report (default: next to the checkpoint).",
            show_default=False,
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    submission: Annotated[
        Path | None,
        typer.Option(
            "--submission",
            help="Zip file to write for the EPIC-KITCHENS-100 challenge.",
            show_default=False,
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    sls: Annotated[
        str,
        typer.Option(
            "--sls",
            help="Supervision levels of the submission: pre-training, training labels, training data.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = options.shown(defaults.SUPERVISION_LEVELS),
    as_json: options.Json = False,
) -> None:
    """Score checkpoints or saved scores: top-1, top-5, mean class accuracy, and a report."""
    options.use_model(family)
    if timeline is not None:
        from tdpn_core.evaluation.timeline import holds_segments

        options.refuse_others(context, _WITH_TIMELINE, by="--timeline")
        if files and holds_segments(files[0]):
            options.refuse_others(context, _OF_FILES, by=f"the predicted segments in {files[0]}")
        in_time = tdpn_core.PredictOptions(
            views=views,
            classes=classes,
            ema=ema,
            trusted=trust,
            timeline=tdpn_core.Windowing(seconds=window, stride=stride),
            **options.of_timeline(threshold, smooth, min_length, nms),
        )
        _score_timeline(files or (), timeline, videos, in_time, out, gpus=gpus, as_json=as_json)
        return
    options.refuse_alone(
        context, (*_SEGMENTS, "videos", "trust"), without="--timeline", hint="add --timeline ANNOTATIONS"
    )
    ks = options.parse_numbers(topk, where="--topk")
    weights, searched = _fusion(fuse, search_on or defaults.SEARCH_ON, max(1, len(files or ())))
    levels = _levels(sls)
    if fuse != "search":
        options.refuse_alone(context, ("search_on",), without="--fuse search", hint="add --fuse search")
    if submission is None:
        options.refuse_alone(context, ("sls",), without="--submission", hint="add --submission out.zip")
    compares = len(files or ()) > 1 and fuse is None
    share = (defaults.KEEP_RIGHT if keep_right is None else keep_right) if calibrate else None
    if keep_right is not None and not calibrate:
        raise UsageError("is the share that --calibrate keeps", where="--keep-right", hint="add --calibrate")
    if compares and calibrate:
        raise UsageError("one checkpoint is calibrated", where="--calibrate", hint="name one file")
    if compares and submission is not None:
        raise UsageError("one model is submitted", where="--submission", hint="name one file, or add --fuse")
    if ranks.run_in_ranks(gpus, processes):
        return
    wanted = tdpn_core.ScoreOptions(
        data=data,
        split=split,
        views=views,
        workers=workers,
        classes=classes,
        ema=ema,
        allow_missing=allow_missing,
        allow_mismatch=allow_mismatch,
        only_shared=only_shared,
    )
    device = device_of(gpus, processes)
    with output.progress(tdpn_core.evaluate) as progress:
        if compares:
            comparison = tdpn_core.compare(
                files or (),
                options=wanted,
                topk=ks,
                annotations=annotations,
                out=out,
                gpus=device,
                progress=progress,
            )
        else:
            result = tdpn_core.evaluate(
                files or (),
                options=wanted,
                topk=ks,
                weights=weights,
                search_on=searched,
                annotations=annotations,
                out=out,
                submission=submission,
                levels=levels,
                calibrate=share,
                gpus=device,
                progress=progress,
            )
    if not ranks.is_first():
        return
    if compares:
        _print_comparison(comparison, as_json=as_json)
        return
    if as_json:
        from tdpn_core.evaluation.report import summary

        output.print_json(summary(result) | {"report": str(result.report)})
    else:
        show(result)
        output.stdout.print(f"[dim]report[/]  {result.report.with_suffix('.html')}", soft_wrap=True)
    if submission is not None:
        output.say(f"{submission}: {result.clips} clips, supervision levels {sls}; check these before it is handed in")


def _score_timeline(
    files: Sequence[Path],
    annotations: Path,
    videos: Path | None,
    wanted: PredictOptions,
    out: Path | None,
    *,
    gpus: int | None,
    as_json: bool,
) -> None:
    """Score one network or file of predicted segments, and print the metrics."""
    from tdpn_core.evaluation.timeline_report import headline

    if len(files) != 1:
        hint = "name one checkpoint, or one CSV or JSON file of predict --timeline"
        raise UsageError(f"one file is scored, not {len(files)}", where="--timeline", hint=hint)
    with output.progress(tdpn_core.predict) as progress:
        result = tdpn_core.evaluate_timeline(
            files[0], annotations, videos=videos, options=wanted, out=out, gpus=gpus, progress=progress
        )
    if as_json:
        values = dataclasses.asdict(result.scores) | {"notes": result.notes, "report": str(result.report)}
        output.print_json(values)
        return
    for name, value in headline(result.scores):
        output.stdout.print(f"{value:>7}  {name}")
    for line in result.notes:
        output.say(f"note: {line}")
    output.stdout.print(f"[dim]report[/]  {result.report.with_suffix('.html')}", soft_wrap=True)


def show(result: Evaluation) -> None:
    """The headline numbers as a table on stdout."""
    from tdpn_core.evaluation.report.text import calibrated, cautions, covered, is_partial, unscored_subsets, validated

    if result.epic:
        _show_epic(result)
    elif result.multilabel:
        _show_labels(result)
    elif result.heads:
        _show_heads(result)
    else:
        output.stdout.print(f"{result.clips} clips of {result.scores.origin.dataset} scored; none has a label.")
    if result.scores.origin.fused:
        output.say(f"fused: {result.scores.origin.checkpoint}")
    if own := validated(result):
        output.say(own)
    for line in calibrated(result):
        output.state(f"calibrated, {line}")
    for line in cautions(result):
        output.say(f"note: {line}")
    if is_partial(result):
        output.say(f"note: {covered(result)}")
    if lacking := unscored_subsets(result):
        output.say(f"note: {lacking}")


def _print_comparison(comparison: Comparison, *, as_json: bool) -> None:
    """Each model's result and the comparison on stdout."""
    from rich.table import Table

    from tdpn_core.evaluation.report import comparison_rows
    from tdpn_core.evaluation.report.compared import compared

    reports = [evaluation.report for evaluation in comparison.evaluations]
    path = comparison.report
    if as_json:
        values = compared(comparison)
        models = [model | {"report": str(report)} for model, report in zip(values["models"], reports, strict=True)]
        output.print_json(values | {"models": models, "report": str(path)})
        return
    for evaluation in comparison.evaluations:
        show(evaluation)
    head, *rows = comparison_rows(comparison)
    table = Table(title="Compared with the first, on the same clips", title_justify="left")
    for number, name in enumerate(head):
        table.add_column(name, justify="left" if number < 2 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    output.stdout.print(table)
    for report in (*reports, path):
        output.stdout.print(f"[dim]report[/]  {report}", soft_wrap=True)


def _show_heads(result: Evaluation) -> None:
    from rich.table import Table

    table = Table(title=_title(result), title_justify="left")
    table.add_column("head")
    table.add_column("clips", justify="right")
    ks = sorted({k for metrics in result.heads.values() for k in metrics.top})
    for name in (*(f"top-{k}" for k in ks), "mean class", "largest class"):
        table.add_column(name, justify="right")
    for head, metrics in result.heads.items():
        top = [f"{metrics.top[k]:.2%}" if k in metrics.top else "" for k in ks]
        guess = max(row.clips for row in metrics.classes) / metrics.clips
        table.add_row(head, str(metrics.clips), *top, f"{metrics.mean_class_accuracy:.2%}", f"{guess:.2%}")
        low, high = metrics.top_intervals[ks[0]]
        table.add_row("", "", f"[dim]{low:.1%} – {high:.1%}[/]", *[""] * (len(ks) + 1))
    output.stdout.print(table)


def _show_labels(result: Evaluation) -> None:
    from rich.table import Table

    from tdpn_core.evaluation.report.multilabel import label_headline

    for metrics in result.multilabel.values():
        head, *rows = label_headline(metrics)
        table = Table(title=_title(result), title_justify="left")
        for number, name in enumerate(head):
            table.add_column(name, justify="left" if not number else "right")
        for row in rows:
            table.add_row(*row)
        table.add_row("labelled clips", str(metrics.clips), "")
        output.stdout.print(table)


def _show_epic(result: Evaluation) -> None:
    from rich.table import Table

    from tdpn_core.evaluation.report.text import epic_rows

    head, *rows = epic_rows(result)
    table = Table(title=_title(result), title_justify="left")
    for number, name in enumerate(head):
        table.add_column(name, justify="left" if number < 2 else "right")
    for row in rows:
        table.add_row(*row)
    output.stdout.print(table)


def _title(result: Evaluation) -> str:
    from rich.markup import escape

    origin = result.scores.origin
    return escape(f"{origin.checkpoint} on {origin.data}, {result.split}, {result.views} views")


def _fusion(fuse: str | None, search_on: str, count: int) -> tuple[list[float] | None, str | list[Path] | None]:
    """Weights, and where they are searched."""
    if fuse is None:
        return None, None
    if fuse == "equal":
        return [1.0] * count, None
    if fuse == "search":
        paths = [Path(part) for part in search_on.split(",")]
        return None, paths if any(path.suffix for path in paths) else search_on
    try:
        return [float(part) for part in fuse.split(",")], None
    except ValueError:
        hint = "for example --fuse 1,1.5"
        raise UsageError(
            f"{fuse!r} is neither a list of weights nor equal nor search", where="--fuse", hint=hint
        ) from None


def _levels(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(part in "012345" and part for part in parts):
        raise UsageError(f"{text!r} is not three levels from 0 to 5", where="--sls", hint="for example --sls 2,3,3")
    return tuple(int(part) for part in parts)
