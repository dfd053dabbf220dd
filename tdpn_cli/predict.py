"""`tdpn predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tdpn_cli import options, output

if TYPE_CHECKING:
    from tdpn_core.predict import Prediction, Segment

EXAMPLES = options.epilog(
    "tdpn predict clip.mp4",
    "tdpn predict my_clips --checkpoint runs/folder-tdpn-r18/best.pt --csv named.csv",
    "tdpn predict match.mkv --timeline --threshold 0.5",
    "tdpn predict frames/%05d.jpg --fps 30 --json",
    "tdpn predict --webcam 0",
    "tdpn predict best.int8.onnx clip.mp4",
)
LONG = 60.0
"""Seconds from which on one answer for a whole video is worth a hint."""


def predict(
    clips: Annotated[
        list[str] | None,
        typer.Argument(
            help="Video files, folders, numbered pictures (frames/%05d.jpg), http:// or rtsp:// addresses; "
            "before them the network may stand, as with --checkpoint.",
            show_default=False,
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            help="A checkpoint, or a file of tdpn export (default: the newest best.pt under runs/).",
            show_default=False,
        ),
    ] = None,
    classes: options.Classes = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Read a .pt2 file, whose format can run code: you made it.")
    ] = False,
    webcam: Annotated[
        str | None, typer.Option("--webcam", help="A camera, by number or device; Ctrl-C ends.", show_default=False)
    ] = None,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="What happens when: segments with start and end, by sliding windows.")
    ] = False,
    window: Annotated[
        float | None,
        typer.Option("--window", help="Seconds of a window (default: what the network spans).", show_default=False),
    ] = None,
    stride: Annotated[
        float | None,
        typer.Option("--stride", help="Seconds between windows (default: half a window).", show_default=False),
    ] = None,
    threshold: Annotated[
        float, typer.Option("--threshold", help="Leave moments out of the timeline below this probability.")
    ] = 0.0,
    start: Annotated[
        float | None, typer.Option("--start", help="Look at the video from this second on.", show_default=False)
    ] = None,
    stop: Annotated[
        float | None, typer.Option("--stop", help="Look at it up to this second.", show_default=False)
    ] = None,
    fps: Annotated[
        float | None, typer.Option("--fps", help="Rate of numbered pictures (default: 25).", show_default=False)
    ] = None,
    views: options.Views = None,
    topk: Annotated[int, typer.Option("--topk", help="Classes to name.", min=1)] = 5,
    table: Annotated[
        Path | None, typer.Option("--csv", help="Write the result as a table, too.", show_default=False)
    ] = None,
    overlay: Annotated[
        Path | None,
        typer.Option(
            "--overlay",
            help="Write the video with labels and bars drawn in: an .mp4 file, or a folder for several.",
            show_default=False,
        ),
    ] = None,
    explain: Annotated[
        Path | None,
        typer.Option("--explain", help="Write a video of what the network looked at, likewise.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace output files that are there.")] = False,
    gpus: options.Gpus = None,
    as_json: options.Json = False,
) -> None:
    """Name what happens in videos. One that fails is reported, the others go on; the exit code is 1 then."""
    from tdpn_core.files import write_text
    from tdpn_core.predict import PredictOptions, Windowing, predict
    from tdpn_core.predict.outputs import new_file
    from tdpn_core.predict.table import plain, to_csv
    from tdpn_core.runtime import set_up

    wanted = PredictOptions(
        views=views,
        classes=classes,
        trusted=trust,
        topk=topk,
        timeline=Windowing(seconds=window, stride=stride)
        if timeline or window is not None or stride is not None
        else None,
        threshold=threshold,
        webcam=webcam,
        fps=fps,
        start=start,
        stop=stop,
        overlay=overlay,
        explain=explain,
        force=force,
    )
    if table is not None:
        new_file(table, option="--csv", force=force)
    predictions = []
    told = _Told(silent=as_json)
    model, words = _model_first(checkpoint, clips or [])
    ended = False
    try:
        for prediction in predict(words, checkpoint=model, runtime=set_up(gpus), options=wanted, tell=told.tell):
            predictions.append(prediction)
            if not as_json:
                show(prediction, told=told.name == prediction.name)
    except KeyboardInterrupt:  # how a live stream ends; what was answered is kept
        ended = True
        predictions += told.unfinished(predictions)
    if table is not None:
        write_text(table, to_csv(predictions))
    if as_json:
        output.print_json([plain(prediction) for prediction in predictions])
    if ended:
        raise KeyboardInterrupt
    if any(prediction.error for prediction in predictions):
        raise typer.Exit(1)


def _model_first(checkpoint: Path | None, words: list[str]) -> tuple[Path | None, list[str]]:
    """The network and the clips: without --checkpoint, a file of weights in the first place is the network."""
    from tdpn_core.predict.models import SUFFIXES

    first = Path(words[0]) if words else Path()
    if checkpoint is None and first.suffix.lower() in SUFFIXES and not first.is_dir():
        return first, words[1:]
    return checkpoint, words


class _Told:
    """Prints segments as soon as they are known."""

    def __init__(self, *, silent: bool) -> None:
        self.silent = silent
        self.name: str | None = None
        """The clip whose segments have been told."""

        self.segments: list[Segment] = []
        """Those of that clip."""

    def tell(self, name: str, segment: Segment) -> None:
        """One segment on stdout, below the name of its clip."""
        if self.name != name:
            self.name, self.segments = name, []
            if not self.silent:
                _print_name(name)
        self.segments.append(segment)
        if not self.silent:
            show_segment(segment)

    def unfinished(self, finished: list[Prediction]) -> list[Prediction]:
        """What is known of a clip under way, as a clip that failed."""
        from tdpn_core.errors import ClipError
        from tdpn_core.predict import Prediction

        if self.name is None or any(prediction.name == self.name for prediction in finished):
            return []
        error = ClipError("interrupted", where=self.name)
        return [Prediction(name=self.name, segments=self.segments, seconds=self.segments[-1].end, error=error)]


def show(prediction: Prediction, *, told: bool = False) -> None:
    """One clip's classes on stdout, unless they have been told, and its error on stderr."""
    from rich.markup import escape

    if prediction.heads and not told:
        _print_name(prediction.name)
    if prediction.segments is not None and not prediction.segments and not prediction.error:
        output.stdout.print("  no moment above the threshold")
    for segment in prediction.segments or () if not told else ():
        show_segment(segment)
    for head, ranking in prediction.heads.items() if prediction.segments is None else ():
        if len(prediction.heads) > 1:
            output.stdout.print(f"  {escape(head)}")
        for name, probability in ranking:
            output.stdout.print(f"  {probability:7.2%}  {escape(name)}", soft_wrap=True)
    if prediction.segments is None and (prediction.seconds or 0) > LONG:
        output.say(f"one answer for {clock(prediction.seconds or 0)}; --timeline tells what happens when")
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
