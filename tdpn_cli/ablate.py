"""`tdpn ablate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import tdpn_core
from tdpn_cli import options, output
from tdpn_core import defaults
from tdpn_core.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from tdpn_core import Ablation
    from tdpn_core.ablation.statistics import Row

EXAMPLES = options.epilog(
    "tdpn ablate --seeds 3",
    "tdpn ablate --vary temporal=none,global,local,both --vary flow=cascade,parallel --gpus 6",
    "tdpn ablate --vary train.lr=0.001,0.002 --jobs 2",
    "tdpn ablate --vary model.temporal=none/none/none/none,local/local/none/none",
    "tdpn ablate --vary model=tdpn,tdpn+spatial_modulation=separable,tpn,tdn,tsm --search-lr 0.0005,0.002,0.008",
)


def ablate(
    data: options.Data = None,
    model: options.Model = None,
    arch: options.Arch = None,
    frames: options.Frames = None,
    size: options.Size = None,
    init: options.Init = None,
    recipe: options.Recipe = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    lr: options.LearningRate = None,
    seed: options.FirstSeed = None,
    settings: options.Settings = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="NAME=A,B",
            help="Setting and its values; repeat for a grid (default: the paper's Table IV).",
            show_default=False,
            rich_help_panel=options.EVALUATION,
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds", help="Runs per row, each with another seed.", min=1, rich_help_panel=options.EVALUATION
        ),
    ] = defaults.SEEDS,
    search_lr: Annotated[
        str | None,
        typer.Option(
            "--search-lr",
            metavar="A,B,C",
            help="Learning rates to choose from for each row, on held-out training clips.",
            show_default=False,
            rich_help_panel=options.EVALUATION,
        ),
    ] = None,
    search_epochs: Annotated[
        int | None,
        typer.Option(
            "--search-epochs",
            help="Epochs of each trial of --search-lr (default: --epochs).",
            min=1,
            show_default=False,
            rich_help_panel=options.EVALUATION,
        ),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="Measure speed of training and inference and memory of each row, after the runs.",
            rich_help_panel=options.EVALUATION,
        ),
    ] = False,
    views: options.Views = None,
    gpus: Annotated[
        int | None,
        typer.Option(
            "--gpus",
            help="Number of GPUs; 0: CPU (default: all).",
            show_default=False,
            rich_help_panel=options.DISTRIBUTED,
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs", help="Parallel runs on the CPU; each GPU has one.", min=1, rich_help_panel=options.DISTRIBUTED
        ),
    ] = defaults.JOBS,
    workers: options.Workers = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Output folder of the runs (default: a new one under runs/).",
            show_default=False,
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Compare settings: train and score a grid of runs, and test each row against the first over clips.

    Run again, it continues: finished runs are skipped, interrupted ones resumed, failed ones tried again.
    """
    from tdpn_core.ablation.tables import plain_rows

    overrides = tdpn_core.TrainOverrides(
        model=model,
        arch=arch,
        frames=frames,
        size=size,
        init=init,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        seed=seed,
        views=views,
        settings=options.parse_settings(settings),
    )
    with output.progress(tdpn_core.ablate) as progress:
        result = tdpn_core.ablate(
            data=data,
            out=out,
            vary=vary or (),
            seeds=seeds,
            search_lr=_rates(search_lr),
            search_epochs=search_epochs,
            measure=measure,
            jobs=jobs,
            recipe=recipe,
            gpus=gpus,
            workers=workers,
            overrides=overrides,
            progress=progress,
        )
    if as_json:
        output.print_json({"folder": str(result.folder), "rows": plain_rows(result.rows), "failed": result.failed})
    else:
        show(result)
    for name, reason in result.failed.items():
        output.say(f"failed: {name}: {reason}")
    if result.failed:
        raise typer.Exit(1)


def _rates(text: str | None) -> list[float]:
    """Return the learning rates of a list such as `0.001,0.002`.

    Raises:
        UsageError: a part is not a number.
    """
    try:
        return [] if text is None else [float(part) for part in text.split(",")]
    except ValueError as error:
        hint = "for example --search-lr 0.0005,0.002,0.008"
        raise UsageError(f"{text!r} is not a list of numbers", where="--search-lr", hint=hint) from error


def show(result: Ablation) -> None:
    """The table on stdout, with what its columns mean."""
    from tdpn_core.ablation.tables import SPEEDS, columns

    heads = columns(result.rows)
    left_out: list[str] = []
    unbounded = output.stdout.options.update(width=10_000)
    for head in (*SPEEDS, "GMAC", "M parameters", ""):  # costs are left out first, until headings and cells are whole
        table = table_of(result.rows, left_out)
        if output.stdout.measure(table, options=unbounded).maximum <= output.stdout.width:
            break
        left_out += [head] if head in heads else []
    output.stdout.print(table)
    if left_out:
        output.stdout.print(f"[dim]not shown, for want of width[/]  {', '.join(left_out)}", soft_wrap=True)
    output.stdout.print(
        f"[dim]tables[/]  {result.folder}/table.html, .csv, .md, .tex, .json, plot.png, cost.png", soft_wrap=True
    )


def table_of(rows: Sequence[Row], left_out: Sequence[str] = ()) -> Table:
    """The rows as a table, but for the columns `left_out`."""
    from rich import box
    from rich.table import Table

    from tdpn_core.ablation.tables import cells, columns, note

    heads = columns(rows)
    shown = [place for place, head in enumerate(heads) if head not in left_out]
    table = Table(box=box.SIMPLE_HEAD, caption=note(rows), caption_justify="left")
    for place in shown:
        table.add_column(heads[place], justify="left" if heads[place] in rows[0].levels else "right")
    for line in cells(rows):
        table.add_row(*(line[place] for place in shown))
    return table
