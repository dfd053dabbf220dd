"""`tdpn models`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

import tdpn_core
from tdpn_cli import options, output

if TYPE_CHECKING:
    from tdpn_core import ModelInfo, ZooEntry

EXAMPLES = options.epilog(
    "tdpn models",
    "tdpn models --arch r101",
    "tdpn models slowfast tsm+tpn",
    "tdpn models --weights",
    "tdpn models --weights tpn",
    "tdpn models fetch tpn-r50-8x8-k400 resnet50-imagenet",
    "tdpn models --json",
)
FETCH = "fetch"


@options.in_one_panel
def models(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Model families to list (default: all). With --weights also parts of checkpoints' names. "
            "After the word fetch: checkpoints to download.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        bool, typer.Option("--weights", help="List published checkpoints, which are downloaded by name.")
    ] = False,
    arch: options.FamilyArch = None,
    as_json: options.Json = False,
) -> None:
    """List model families with their cost and published accuracy, or published checkpoints; download checkpoints.

    Parameters are those of inference, GMAC (10⁹ multiply-accumulates) those of one clip of the size that is shown.
    """
    if names and names[0] == FETCH:
        _fetch(names[1:], as_json=as_json)
    elif weights:
        _show_weights(names or [], arch, as_json=as_json)
    else:
        _show_families(names or [], arch, as_json=as_json)


def _show_families(names: Sequence[str], arch: str | None, *, as_json: bool) -> None:
    entries = tdpn_core.list_models(names, arch=arch)
    if as_json:
        output.print_json([_plain(entry) for entry in entries])
        return
    output.stdout.print(_table(entries))
    for entry in entries:
        output.stdout.print(f"[bold]{entry.name}[/]  {entry.title}", soft_wrap=True)
        for row in entry.published:
            output.stdout.print(f"[dim]  reported[/]  {row}", soft_wrap=True)
        projects = ", ".join(entry.weights) or "none of its own; --init takes its backbone from others"
        output.stdout.print(f"[dim]  weights[/]   {projects}", soft_wrap=True)
    output.stdout.print("\n[dim]train one[/]  tdpn train --model NAME", soft_wrap=True)
    output.stdout.print("[dim]pretrained[/] tdpn models --weights", soft_wrap=True)


def _show_weights(names: Sequence[str], arch: str | None, *, as_json: bool) -> None:
    entries = tdpn_core.list_weights(names, arch=arch)
    if as_json:
        output.print_json([_plain_weights(entry) for entry in entries])
        return
    output.stdout.print(_weights_table(entries))
    if names:
        for entry in entries:
            _print_weights(entry)
    else:
        output.stdout.print("[dim]more of some[/]  tdpn models --weights NAME...", soft_wrap=True)
    output.stdout.print("[dim]use one[/]       tdpn predict clip.mp4 --checkpoint NAME", soft_wrap=True)


def _fetch(names: Sequence[str], *, as_json: bool) -> None:
    from rich.markup import escape

    with output.progress(tdpn_core.fetch_weights) as progress:
        found = tdpn_core.fetch_weights(names, progress=progress)
    if as_json:
        output.print_json({name: str(path) for name, path in found.items()})
        return
    for name, path in found.items():
        output.stdout.print(f"{name}  {escape(str(path))}", soft_wrap=True)


def _weights_table(entries: Sequence[ZooEntry]) -> Any:
    """Short enough for 80 columns."""
    from rich import box
    from rich.table import Table

    from tdpn_core.weights.zoo import ByHand, is_here

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("checkpoint", "data"):
        table.add_column(heading, no_wrap=True)
    table.add_column("top-1 / 5", no_wrap=True, justify="right")
    table.add_column("MB", no_wrap=True, justify="right")
    table.add_column("here", no_wrap=True)
    for entry in entries:
        here = "yes" if is_here(entry) else "by hand" if isinstance(entry.source, ByHand) else ""
        table.add_row(entry.name, _SHORT.get(entry.data, entry.data), entry.accuracy, f"{entry.megabytes:.0f}", here)
    return table


_SHORT = {"Something-Something V1": "SSv1", "Something-Something V2": "SSv2"}


def _print_weights(entry: ZooEntry) -> None:
    """What is known of one checkpoint."""
    from rich.markup import escape

    from tdpn_core.weights.zoo import address, class_names, place

    names = len(class_names(entry))
    lines = {
        "network": f"{entry.family} {entry.arch}, {entry.clip}" + (f"; {entry.note}" if entry.note else ""),
        "reported": f"{entry.accuracy} on {entry.data}, by {entry.reported}",
        "licence": entry.licence,
        "from": address(entry),
        "checksum": str(entry.checksum) if entry.checksum else "none published; that of the first download is recorded",
        "classes": f"{names} names" if names else "not named here: give --classes FILE",
        "file": str(place(entry)),
    }
    output.stdout.print(f"[bold]{entry.name}[/]", soft_wrap=True)
    for heading, text in lines.items():
        output.stdout.print(f"[dim]  {heading:<9}[/] {escape(text)}", soft_wrap=True)


def _plain_weights(entry: ZooEntry) -> dict[str, Any]:
    from tdpn_core.weights.zoo import address, class_names, is_here, place

    return {
        "name": entry.name,
        "model": entry.family,
        "arch": entry.arch,
        "clip": entry.clip,
        "data": entry.data,
        "top1": entry.top1,
        "top5": entry.top5,
        "reported_by": entry.reported,
        "licence": entry.licence,
        "address": address(entry),
        "checksum": str(entry.checksum) if entry.checksum else None,
        "megabytes": round(entry.megabytes),
        "classes": len(class_names(entry)),
        "note": entry.note,
        "file": str(place(entry)),
        "here": is_here(entry),
    }


def _table(entries: list[ModelInfo]) -> Any:
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


def _plain(entry: ModelInfo) -> dict[str, Any]:
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
