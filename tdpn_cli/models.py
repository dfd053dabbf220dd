"""`tdpn models`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tdpn_cli import options, output

if TYPE_CHECKING:
    from tdpn_core.catalogue import Entry

EXAMPLES = options.epilog(
    "tdpn models", "tdpn models --arch r101", "tdpn models slowfast tsm+tpn", "tdpn models --json"
)


def models(
    names: Annotated[
        list[str] | None, typer.Argument(help="Model families to list (default: all).", show_default=False)
    ] = None,
    arch: Annotated[
        str | None,
        typer.Option(
            "--arch", metavar="DEPTH", help="Backbone depth (default: each family's own).", show_default=False
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """List model families with their cost, published accuracy and the checkpoints that can be loaded.

    Parameters are those of inference, GMAC (10⁹ multiply-accumulates) those of one clip of the size that is shown.
    """
    from tdpn_core.catalogue import catalogue

    entries = catalogue(names or (), arch=arch)
    if as_json:
        output.print_json([_plain(entry) for entry in entries])
    else:
        output.stdout.print(_table(entries))
        for entry in entries:
            output.stdout.print(f"[bold]{entry.name}[/]  {entry.title}", soft_wrap=True)
            for row in entry.published:
                output.stdout.print(f"[dim]  reported[/]  {row}", soft_wrap=True)
            weights = ", ".join(entry.weights) or "none of its own; --init takes its backbone from others"
            output.stdout.print(f"[dim]  weights[/]   {weights}", soft_wrap=True)
        output.stdout.print("\n[dim]train one[/]  tdpn train --model NAME", soft_wrap=True)


def _table(entries: list[Entry]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("model", "depth", "clip"):
        table.add_column(heading)
    for heading in ("parameters", "GMAC"):
        table.add_column(heading, justify="right")
    for entry in entries:
        config, cost = entry.config, entry.cost
        clip = f"{config.num_frames}x{config.input_size}²"
        counts = (f"{cost.parameters / 1e6:.2f} M", f"{cost.gmac['total']:.1f}")
        table.add_row(entry.name, config.arch, clip, *counts)
    return table


def _plain(entry: Entry) -> dict[str, Any]:
    config, cost = entry.config, entry.cost
    return {
        "model": entry.name,
        "title": entry.title,
        "archs": list(entry.archs),
        "arch": config.arch,
        "num_frames": config.num_frames,
        "frames_per_step": config.frames_per_step,
        "input_size": config.input_size,
        "parameters": cost.parameters,
        "training_parameters": cost.training_parameters,
        "gmac": cost.gmac,
        "published": [vars(row) for row in entry.published],
        "weights": list(entry.weights),
    }
