"""`tdpn eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tdpn_cli import options, output

if TYPE_CHECKING:
    from tdpn_core.evaluate.run import Evaluation

EXAMPLES = options.epilog("tdpn eval runs/folder-tdpn-r18/best.pt", "tdpn eval best.pt --views 10x3 --json")


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of tdpn train; it knows its data and classes.")],
    views: options.Views = None,
    split: Annotated[str, typer.Option("--split", help="Which clips: val, train or test.")] = "val",
    topk: Annotated[str, typer.Option("--topk", help="Comma-separated; cut to the number of classes.")] = "1,5",
    data: options.Data = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the report (default: beside it).", show_default=False)
    ] = None,
    gpus: options.Gpus = None,
    workers: options.Workers = None,
    as_json: options.Json = False,
) -> None:
    """Score a checkpoint: top-1, top-5, mean class accuracy, and a report beside it."""
    from tdpn_core.evaluate import run
    from tdpn_core.evaluate.report import summary, write_report
    from tdpn_core.runtime import set_up

    ks = options.parse_numbers(topk, where="--topk")
    with output.progress() as progress:
        result = run.evaluate(
            checkpoint,
            runtime=set_up(gpus),
            data=data,
            split=split,
            views=views,
            topk=ks,
            workers=workers,
            progress=progress,
        )
    report = write_report(result, out)
    if as_json:
        output.print_json(summary(result) | {"report": str(report)})
    else:
        show(result)
        output.stdout.print(f"[dim]report[/]  {report}", soft_wrap=True)


def show(result: Evaluation) -> None:
    """The headline numbers as a table on stdout."""
    from rich.table import Table

    table = Table(title=f"{result.config.data.dataset}, {result.split}, {result.views} views", title_justify="left")
    table.add_column("head")
    table.add_column("clips", justify="right")
    ks = sorted({k for metrics in result.heads.values() for k in metrics.top})
    for name in (*(f"top-{k}" for k in ks), "mean class", "largest class"):
        table.add_column(name, justify="right")
    for head, metrics in result.heads.items():
        top = [f"{metrics.top[k]:.2%}" if k in metrics.top else "" for k in ks]
        guess = max(row.clips for row in metrics.classes) / metrics.clips
        table.add_row(head, str(metrics.clips), *top, f"{metrics.mean_class_accuracy:.2%}", f"{guess:.2%}")
    output.stdout.print(table)
    if result.rejected:
        output.say(
            f"not scored, because they cannot be decoded: {result.rejected}, over all splits; `tdpn prep` lists them"
        )
