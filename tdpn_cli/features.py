"""`tdpn features`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import tdpn_core
from tdpn_cli import options, output, ranks
from tdpn_cli.archive import run_archive
from tdpn_core import defaults
from tdpn_core.distributed.command import device_of
from tdpn_core.errors import UsageError

EXAMPLES = options.epilog(
    "tdpn features --checkpoint lite0-imagenet",
    "tdpn features data/folder --checkpoint runs/folder-tdpn-r18 --split val",
    "tdpn features data/folder --checkpoint slowonly_r50.pth --stride 1 --parquet",
    "tdpn features videos --checkpoint best.pt --stride 1 --archive features.parquet --processes 8",
)

_ADD = "add --archive features.parquet"
_PREPARED_ONLY = ("split", "parquet", "out", "workers")
"""Parameters of the command that have no effect on an archive."""


def features(
    context: typer.Context,
    data: Annotated[
        list[str] | None,
        typer.Argument(
            help="Prepared data set (default: the one under data/); with --archive, video files and folders.",
            show_default=False,
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            help="Network: a checkpoint of tdpn or another project, a run, or a name of the zoo "
            "(default: the newest best.pt under runs/).",
            show_default=False,
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            "--split",
            help="Split: train, val or test; may be repeated (default: all).",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    stride: Annotated[
        float | None,
        typer.Option(
            "--stride",
            help="Seconds between features of a clip (default: one feature per test view).",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    views: options.Views = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            help="Input size in pixels (for another project's network; default: by the data, at most 224).",
            min=32,
            show_default=False,
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            "--frames",
            help="Sampled frames per clip (for another project's network; default: its own, 8 for an image network).",
            min=1,
            show_default=False,
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    parquet: Annotated[
        bool, typer.Option("--parquet", help="Write Parquet tables as well.", rich_help_panel=options.OUTPUT)
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Output folder (default: features/CHECKPOINT in the data set's folder).",
            show_default=False,
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    archive: options.Archive = None,
    clip_list: options.ClipList = None,
    family: options.ModelSource = None,
    gpus: options.Gpus = None,
    processes: options.Processes = None,
    workers: options.Workers = None,
    executor: options.Executor = defaults.EXECUTOR,
    ray_address: options.RayAddress = None,
    as_json: options.Json = False,
) -> None:
    """Extract features with a trained network: of prepared clips for train --probe, or of videos for other programs."""
    options.use_model(family)
    from rich.markup import escape

    wanted = tdpn_core.FeatureOptions(
        splits=tuple(split or ()),
        views=views,
        stride=stride,
        size=size,
        frames=frames,
        workers=workers,
        parquet=parquet,
    )
    words = list(data or ())
    if archive is not None:
        options.refuse(context, _PREPARED_ONLY, by="--archive")
        options.check_executor(context, executor)
        words += options.lines_of(clip_list)
        run_archive(
            tdpn_core.extract_archive, words, archive, checkpoint=checkpoint, wanted=wanted, gpus=gpus,
            processes=processes, executor=executor, ray_address=ray_address, as_json=as_json,
        )  # fmt: skip
        return
    options.refuse_alone(context, ("clip_list", "executor", "ray_address"), without="--archive", hint=_ADD)
    if len(words) > 1:
        raise UsageError("one prepared data set at a time", where=words[1], hint=f"for videos, {_ADD}")
    if ranks.run_in_ranks(gpus, processes):
        return
    with output.progress(tdpn_core.extract_features) as progress:
        files = tdpn_core.extract_features(
            Path(words[0]) if words else None,
            checkpoint=checkpoint,
            out=out,
            options=wanted,
            gpus=device_of(gpus, processes),
            progress=progress,
        )
    if not ranks.is_first():
        return
    if as_json:
        output.print_json({name: str(path) for name, path in files.items()})
    elif "train" in files:
        folder = files["train"].parent
        output.stdout.print(f"[dim]next[/]  tdpn train --probe linear --features {escape(str(folder))}", soft_wrap=True)
