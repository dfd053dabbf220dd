"""`tdpn predict`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import tdpn_core
from tdpn_cli import options, output
from tdpn_cli.archive import run_archive
from tdpn_core import defaults
from tdpn_core.progress import SILENT

if TYPE_CHECKING:
    from tdpn_core import Prediction, Segment

EXAMPLES = options.epilog(
    "tdpn predict clip.mp4",
    "tdpn predict my_clips --checkpoint runs/folder-tdpn-r18/best.pt --csv named.csv",
    "tdpn predict clip.mp4 --checkpoint tsm-r50-8-k400",
    "tdpn predict match.mkv --timeline --threshold 0.5",
    "tdpn predict long/*.mp4 --timeline --segments tasks.json",
    "tdpn predict frames/%05d.jpg --fps 30 --json",
    "tdpn predict archive --archive results.parquet --processes 8",
    "tdpn predict --webcam 0",
    "tdpn predict best.int8.onnx clip.mp4",
)
_CLIP_BY_CLIP = ("webcam", "table", "segments", "overlay", "explain", "yes", "force")
"""Parameters of the command that have no effect on an archive."""

LIMITS = "Limits"
LONG = 60.0
"""Seconds from which on one answer for a whole video is worth a hint."""


def predict(
    context: typer.Context,
    clips: Annotated[
        list[str] | None,
        typer.Argument(
            help="Video files, folders, numbered images (frames/%05d.jpg), http:// or rtsp:// URLs. "
            "The first argument may be the network instead, as with --checkpoint.",
            show_default=False,
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            help="Checkpoint, exported file, run folder, or name of a run or of the zoo "
            "(default: the newest run's best.pt, or without one a network for Kinetics-400).",
            show_default=False,
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Download the default network without asking.", rich_help_panel=options.MODEL),
    ] = False,
    classes: options.Classes = None,
    ema: options.Ema = None,
    family: options.ModelSource = None,
    trust: options.Trust = False,
    webcam: Annotated[
        str | None,
        typer.Option(
            "--webcam", help="Camera number or device; Ctrl-C ends.", show_default=False, rich_help_panel=options.DATA
        ),
    ] = None,
    timeline: Annotated[
        bool,
        typer.Option(
            "--timeline",
            help="Predict segments with start and end, by sliding windows.",
            rich_help_panel=options.TIMELINE,
        ),
    ] = False,
    window: options.Window = None,
    stride: options.Stride = None,
    threshold: options.Threshold = None,
    smooth: options.Smooth = None,
    min_length: options.MinLength = None,
    nms: options.Nms = None,
    start: Annotated[
        float | None,
        typer.Option(
            "--start",
            help="Start of the part to predict, in seconds.",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    stop: Annotated[
        float | None,
        typer.Option(
            "--stop", help="End of the part to predict, in seconds.", show_default=False, rich_help_panel=options.DATA
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            "--fps",
            help=f"Frame rate of numbered images (default: {defaults.FRAME_RATE:g}).",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    views: options.Views = None,
    topk: Annotated[
        int, typer.Option("--topk", help="Number of classes to print.", min=1, rich_help_panel=options.EVALUATION)
    ] = defaults.PREDICTED_CLASSES,
    table: Annotated[
        Path | None,
        typer.Option("--csv", help="CSV file to write.", show_default=False, rich_help_panel=options.OUTPUT),
    ] = None,
    segments: Annotated[
        Path | None,
        typer.Option(
            "--segments",
            help="Segments of a timeline to write for annotation tools: .csv, .json (Label Studio), .eaf (ELAN), or a "
            "folder for an ELAN file per video.",
            show_default=False,
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    overlay: Annotated[
        Path | None,
        typer.Option(
            "--overlay",
            help="Video to write with the predictions below the picture: an .mp4 file, or a folder for several clips.",
            show_default=False,
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    explain: Annotated[
        Path | None,
        typer.Option(
            "--explain",
            help="Video to write with class activation and motion maps: an .mp4 file, or a folder for several clips.",
            show_default=False,
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    archive: options.Archive = None,
    clip_list: options.ClipList = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite existing output files.", rich_help_panel=options.OUTPUT)
    ] = False,
    fetch_timeout: Annotated[
        float,
        typer.Option(
            "--fetch-timeout",
            help="Seconds for a download or a playlist, and the delay a live stream with --stop may have.",
            min=0.1,
            rich_help_panel=LIMITS,
        ),
    ] = defaults.FETCH_SECONDS,
    idle_timeout: Annotated[
        float,
        typer.Option(
            "--idle-timeout",
            help="Seconds without progress: less than 1 kB/s of a file, no frame of a stream.",
            min=0.1,
            rich_help_panel=LIMITS,
        ),
    ] = defaults.IDLE_SECONDS,
    clip_timeout: Annotated[
        float | None,
        typer.Option(
            "--clip-timeout",
            help="Processor time to decode a file in seconds (default: grows with length and picture size).",
            min=0.1,
            show_default=False,
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            "--max-pixels",
            help="Larger pictures are refused (default: the limit of the network's data).",
            min=1,
            show_default=False,
            rich_help_panel=LIMITS,
        ),
    ] = None,
    gpus: options.Gpus = None,
    processes: options.Processes = None,
    executor: options.Executor = defaults.EXECUTOR,
    ray_address: options.RayAddress = None,
    as_json: options.Json = False,
) -> None:
    """Predict the action in videos. If one fails, it is reported, the others are processed, and the exit code is 1."""
    options.use_model(family)
    from tdpn_core.prediction.results import plain
    from tdpn_core.weights.resolve import describe
    from tdpn_core.weights.zoo import address

    given = (window, stride, threshold, smooth, min_length, nms, segments)
    in_time = timeline or any(value is not None for value in given)
    wanted = tdpn_core.PredictOptions(
        views=views,
        classes=classes,
        ema=ema,
        trusted=trust,
        topk=topk,
        timeline=tdpn_core.Windowing(seconds=window, stride=stride) if in_time else None,
        **options.of_timeline(threshold, smooth, min_length, nms),
        webcam=webcam,
        fps=fps,
        start=start,
        stop=stop,
        segments=segments,
        overlay=overlay,
        explain=explain,
        force=force,
        fetch_limits=replace(tdpn_core.PredictOptions().fetch_limits, idle=idle_timeout, total=fetch_timeout),
        clip_timeout=clip_timeout,
        max_pixels=max_pixels,
    )
    words = [*(clips or ()), *options.lines_of(clip_list)]
    if archive is not None:
        options.refuse(context, _CLIP_BY_CLIP, by="--archive")
        options.check_executor(context, executor)
        run_archive(
            tdpn_core.predict_archive, words, archive, checkpoint=checkpoint, wanted=wanted, gpus=gpus,
            processes=processes, executor=executor, ray_address=ray_address, as_json=as_json,
        )  # fmt: skip
        return
    options.refuse_without_archive(context)
    predictions = []
    ended = False
    with output.progress(tdpn_core.predict) as bar:
        shown = _Shown(bar, silent=as_json)
        found = tdpn_core.predict(
            words,
            checkpoint=checkpoint,
            options=wanted,
            csv=table,
            gpus=gpus,
            may_fetch=lambda entry: yes or output.ask(f"download {describe(entry)} from {address(entry)}?"),
            on_segment=shown.segment,
            progress=SILENT if as_json else bar,
        )
        with closing(found):
            try:
                for prediction in found:
                    predictions.append(prediction)
                    shown.prediction(prediction)
            except KeyboardInterrupt:  # how a live stream ends; what was answered is kept
                ended = True
    if as_json:
        output.print_json([plain(prediction) for prediction in predictions])
    if ended:
        raise KeyboardInterrupt
    if any(prediction.error for prediction in predictions):
        raise typer.Exit(1)


class _Shown:
    """Prints segments as soon as they are known, and each clip once it is done."""

    def __init__(self, bar: output.Bar, *, silent: bool) -> None:
        self._bar, self._silent = bar, silent
        self._name: str | None = None
        """The clip whose segments have been printed."""

    def segment(self, name: str, segment: Segment) -> None:
        """One segment on stdout, below the name of its clip."""
        if self._silent:
            return
        with self._bar.aside():
            if self._name != name:
                self._name = name
                _print_name(name)
            show_segment(segment)

    def prediction(self, prediction: Prediction) -> None:
        """One clip, without the segments that have been printed."""
        if not self._silent:
            show(prediction, already_reported=self._name == prediction.name)
            self._name = None


def show(prediction: Prediction, *, already_reported: bool = False) -> None:
    """One clip's classes on stdout, unless its segments have been printed, and its error on stderr."""
    from rich.markup import escape

    from tdpn_core.prediction.results import NONE

    if prediction.heads and not already_reported:
        _print_name(prediction.name)
    if prediction.segments is not None and not prediction.segments and not prediction.error:
        output.stdout.print("  no action above the threshold")
    for segment in prediction.segments or () if not already_reported else ():
        show_segment(segment)
    for head, names in (prediction.chosen or {}).items():
        of = f"{escape(head)}: " if len(prediction.heads) > 1 else ""
        output.stdout.print(f"  {of}[bold]{escape(', '.join(names) or NONE)}[/]", soft_wrap=True)
    for head, ranking in prediction.heads.items() if prediction.segments is None else ():
        if len(prediction.heads) > 1:
            output.stdout.print(f"  {escape(head)}")
        for name, probability in ranking:
            output.stdout.print(f"  {probability:7.2%}  {escape(name)}", soft_wrap=True)
    if prediction.segments is None and (prediction.seconds or 0) > LONG:
        output.say(f"one answer for {clock(prediction.seconds or 0)}; --timeline shows what happens when")
    if prediction.error:
        output.print_error(prediction.error)


def show_segment(segment: Segment) -> None:
    """One line on stdout: when, and the likeliest class of each head."""
    from rich.markup import escape

    best = "  ".join(f"{probability:7.2%}  {escape(name)}" for (name, probability), *_ in segment.heads.values())
    output.stdout.print(f"  {clock(segment.start)} - {clock(segment.end)}  {best}", soft_wrap=True)


def clock(seconds: float) -> str:
    """`1:02:03.4`, without hours where there are none."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    shown = f"{minutes:02}:{rest // 10:02}.{rest % 10}"
    return f"{hours}:{shown}" if hours else shown


def _print_name(name: str) -> None:
    from rich.markup import escape

    output.stdout.print(f"[bold]{escape(name)}[/]", soft_wrap=True)
