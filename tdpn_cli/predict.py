"""`tdpn predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tdpn_cli import options, output

if TYPE_CHECKING:
    from tdpn_core.predict import Prediction

EXAMPLES = options.epilog(
    "tdpn predict clip.mp4", "tdpn predict *.mp4 --checkpoint runs/folder-tdpn-r18/best.pt --json"
)


def predict(
    clips: Annotated[
        list[str], typer.Argument(help="Video files, folders, numbered pictures (frames/%05d.jpg), http:// or rtsp://.")
    ],
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="Default: the newest best.pt under runs/.", show_default=False)
    ] = None,
    views: options.Views = None,
    topk: Annotated[int, typer.Option("--topk", help="Classes to name.", min=1)] = 5,
    gpus: options.Gpus = None,
    as_json: options.Json = False,
) -> None:
    """Name what happens in video files. A file that fails is reported, the others go on; exit code 1 then."""
    from tdpn_core.predict import predict as run
    from tdpn_core.runtime import set_up

    predictions = []
    for prediction in run(clips, checkpoint=checkpoint, runtime=set_up(gpus), views=views, topk=topk):
        predictions.append(prediction)
        if not as_json:
            show(prediction)
    if as_json:
        output.print_json([plain(prediction) for prediction in predictions])
    if any(prediction.error for prediction in predictions):
        raise typer.Exit(1)


def show(prediction: Prediction) -> None:
    """One file's classes on stdout, or its error on stderr."""
    from rich.markup import escape

    if prediction.error:
        output.print_error(prediction.error)
        return
    output.stdout.print(f"[bold]{escape(prediction.name)}[/]", soft_wrap=True)
    for head, ranking in prediction.heads.items():
        if len(prediction.heads) > 1:
            output.stdout.print(f"  {escape(head)}")
        for name, probability in ranking:
            output.stdout.print(f"  {probability:7.2%}  {escape(name)}", soft_wrap=True)


def plain(prediction: Prediction) -> dict[str, Any]:
    """One file's result as plain values."""
    return {
        "clip": prediction.name,
        "heads": {
            head: [{"class": name, "probability": probability} for name, probability in ranking]
            for head, ranking in prediction.heads.items()
        },
        "error": str(prediction.error) if prediction.error else None,
    }
