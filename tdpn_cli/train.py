"""`tdpn train`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from tdpn_cli import options, output, ranks
from tdpn_core import defaults
from tdpn_core.modality import Modality

EXAMPLES = options.epilog(
    "tdpn train",
    "tdpn train --arch r101 --gpus 6",
    "tdpn train --epochs 50 --batch-size 8",
    "tdpn train --config runs/a/config.json --set train.lr=0.01",
    "tdpn train --resume",
)


def train(
    model: options.Model = None,
    arch: options.Arch = None,
    modality: Annotated[
        Modality | None,
        typer.Option(
            "--modality",
            help="Input modality: rgb or flow (default: that of the data).",
            show_default=False,
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            "--frames", help="Sampled frames per clip (default: the recipe's).", min=1, rich_help_panel=options.MODEL
        ),
    ] = None,
    interval: Annotated[
        int | None,
        typer.Option(
            "--interval",
            help="Distance of sampled frames in frames, dense sampling only (default: the recipe's).",
            min=1,
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size", help="Input size in pixels (default: the recipe's).", min=32, rich_help_panel=options.MODEL
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", help="Training epochs (default: the recipe's).", min=1, rich_help_panel=options.OPTIMISATION
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            help="Clips per step, over all processes (default: the recipe's).",
            min=1,
            rich_help_panel=options.OPTIMISATION,
        ),
    ] = None,
    accumulate: Annotated[
        int | None,
        typer.Option(
            "--accumulate",
            help="Gradient accumulation: parts that a batch is computed in (default: the recipe's).",
            min=1,
            rich_help_panel=options.OPTIMISATION,
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            "--lr",
            help="Learning rate (peak; default: the recipe's, scaled with the batch).",
            rich_help_panel=options.OPTIMISATION,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Random seed (default: 0).", min=0, rich_help_panel=options.OPTIMISATION),
    ] = None,
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="Compile the network with torch.compile.",
            rich_help_panel=options.OPTIMISATION,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help="Recipe, a preset of settings (default: by data set).",
            show_default=False,
            autocompletion=options.complete_recipe,
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", help="config.json of another run, used in place of a recipe.", rich_help_panel=options.MODEL
        ),
    ] = None,
    settings: options.Settings = None,
    data: options.Data = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Output folder of the run (default: a new one under runs/).",
            show_default=False,
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    init: options.Init = None,
    ema: options.Ema = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Resume the run in --out, or the newest run.", rich_help_panel=options.OUTPUT),
    ] = False,
    resume_from: Annotated[
        Path | None,
        typer.Option(
            "--resume-from",
            help="Resume from this checkpoint of a run.",
            show_default=False,
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    keep: Annotated[
        int, typer.Option("--keep", help="Checkpoints to keep.", min=1, rich_help_panel=options.OUTPUT)
    ] = defaults.KEEP,
    gpus: options.Gpus = None,
    processes: ranks.Processes = None,
    nodes: ranks.Nodes = defaults.NODES,
    rendezvous: ranks.Rendezvous = None,
    max_restarts: ranks.Restarts = defaults.MAX_RESTARTS,
    timeout: ranks.Timeout = defaults.TIMEOUT,
    sync_bn: Annotated[
        bool,
        typer.Option(
            "--sync-bn", help="Synchronise batch normalisation over all processes.", rich_help_panel=options.DISTRIBUTED
        ),
    ] = False,
    workers: options.Workers = None,
    track: Annotated[
        list[str] | None,
        typer.Option(
            "--track", help="Log to wandb or mlflow as well.", show_default=False, rich_help_panel=options.LOGGING
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Train a network on the prepared data set."""
    from rich.markup import escape

    if ranks.run_in_ranks(gpus, processes, nodes=nodes, rendezvous=rendezvous, restarts=max_restarts):
        return
    from tdpn_core.config.overrides import TrainOverrides
    from tdpn_core.training.launch import train as launch

    changed = options.parse_settings(settings) | ({"train.sync_bn": "true"} if sync_bn else {})
    overrides = TrainOverrides(
        model=model,
        arch=arch,
        modality=modality,
        frames=frames,
        interval=interval,
        size=size,
        init=init,
        epochs=epochs,
        batch_size=batch_size,
        accumulate=accumulate,
        lr=lr,
        compile=compiled,
        seed=seed,
        settings=changed,
    )
    with output.progress() as progress:
        result = launch(
            data=data,
            out=out,
            recipe=recipe,
            config_file=config,
            gpus=ranks.device(gpus, processes),
            workers=workers,
            resume=resume_from or resume,
            ema=ema,
            keep=keep,
            timeout=timeout,
            track=track or (),
            overrides=overrides,
            progress=progress,
        )
    if not ranks.is_first():
        return
    if as_json:
        state = result.state
        output.print_json(
            {"checkpoint": str(result.best), "epochs": state.epoch, "top1": state.best_top1, "history": state.history}
        )
    else:
        clips = "validation" if any("val_top1" in row for row in result.state.history) else "training"
        output.stdout.print(f"best {clips} top-1 [bold]{result.state.best_top1:.1%}[/]", highlight=False)
        output.stdout.print(f"[dim]next[/]  tdpn eval {escape(shlex.quote(str(result.best)))}", soft_wrap=True)
