"""`tdpn ablate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tdpn_cli import options, output

EXAMPLES = options.epilog("tdpn ablate", "tdpn ablate --arch r50 --epochs 30 --out runs/table-iv")


def ablate(
    arch: Annotated[
        Literal["r18", "r34", "r50", "r101"] | None,
        typer.Option("--arch", help="Depth of the backbone (default: the recipe's).", show_default=False),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the data.", min=1)] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Clips a step.", min=1)] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of everything random.", min=0)] = None,
    recipe: Annotated[str | None, typer.Option("--recipe", help="Preset.", show_default=False)] = None,
    views: options.Views = None,
    settings: options.Settings = None,
    data: options.Data = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the four runs (default: under runs/).", show_default=False)
    ] = None,
    gpus: options.Gpus = None,
    workers: options.Workers = None,
    as_json: options.Json = False,
) -> None:
    """Train the paper's Table IV: no difference module, global in low, local in high, both. Run again, it continues."""
    from rich.table import Table

    from tdpn_core import ablate as library

    with output.progress() as progress:
        rows = library.ablate(
            data=data,
            out=out,
            recipe=recipe,
            gpus=gpus,
            workers=workers,
            progress=progress,
            arch=arch,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            seed=seed,
            views=views,
            settings=options.parse_settings(settings),
        )
    summaries = [library.summary(row) for row in rows]
    if as_json:
        output.print_json(summaries)
        return
    table = Table(title="temporal-difference modules, one seed", title_justify="left")
    table.add_column("module")
    for name in ("top-1", "mean class", "parameters", "GMAC", "paper's top-1 (K400)"):
        table.add_column(name, justify="right")
    for row in summaries:
        table.add_row(
            row["setting"],
            f"{row['top1']:.2%}",
            f"{row['mean_class_accuracy']:.2%}",
            f"{row['parameters'] / 1e6:.1f} M",
            f"{row['gmac']:.1f}",
            f"{row['paper_top1']:.1%}",
        )
    output.stdout.print(table)
