"""`tdpn train`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from tdpn_cli import options, output, ranks
from tdpn_core.config.families import Arch, Modality, ModelName

EXAMPLES = options.epilog(
    "tdpn train",
    "tdpn train --arch r101 --gpus 6",
    "tdpn train --epochs 50 --batch-size 8",
    "tdpn train --config runs/a/config.json --set train.lr=0.01",
    "tdpn train --resume",
)


def train(
    model: Annotated[
        ModelName | None,
        typer.Option("--model", help="Family of networks (default: tdpn); see tdpn models.", show_default=False),
    ] = None,
    arch: Annotated[
        Arch | None,
        typer.Option("--arch", help="Depth of the backbone (default: the recipe's).", show_default=False),
    ] = None,
    modality: Annotated[
        Modality | None,
        typer.Option("--modality", help="rgb or flow (default: as the data is packed).", show_default=False),
    ] = None,
    frames: Annotated[int | None, typer.Option("--frames", help="Sampled frames of a clip.", min=1)] = None,
    interval: Annotated[
        int | None, typer.Option("--interval", help="Frames between two of them (dense).", min=1)
    ] = None,
    size: Annotated[int | None, typer.Option("--size", help="Side of the input in pixels.", min=32)] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the data.", min=1)] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Clips a step.", min=1)] = None,
    accumulate: Annotated[
        int | None, typer.Option("--accumulate", help="Parts that a batch is computed in, to save memory.", min=1)
    ] = None,
    lr: Annotated[
        float | None, typer.Option("--lr", help="Peak learning rate (default: the recipe's, scaled with the batch).")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of everything random.", min=0)] = None,
    compiled: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="Run the network through torch.compile.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help="Preset (default: by data set and device).",
            show_default=False,
            autocompletion=options.complete_recipe,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Settings of another run: its config.json, in place of --recipe."),
    ] = None,
    settings: options.Settings = None,
    data: options.Data = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the run (default: a new one under runs/).", show_default=False),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option("--init", help="Start from these weights: a checkpoint, ours or another project's, or imagenet."),
    ] = None,
    ema: options.Ema = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out, or the newest.")] = False,
    resume_from: Annotated[
        Path | None, typer.Option("--resume-from", help="Continue from this checkpoint of a run.", show_default=False)
    ] = None,
    keep: Annotated[int, typer.Option("--keep", help="States of the run that are kept.", min=1)] = 2,
    gpus: options.Gpus = None,
    processes: ranks.Processes = None,
    nodes: ranks.Nodes = 1,
    rendezvous: ranks.Rendezvous = None,
    max_restarts: ranks.Restarts = 3,
    timeout: ranks.Timeout = 600,
    sync_bn: Annotated[bool, typer.Option("--sync-bn", help="Batch statistics over all processes.")] = False,
    workers: options.Workers = None,
    track: Annotated[
        list[str] | None,
        typer.Option("--track", help="Follow the run with wandb or mlflow, too.", show_default=False),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Train a network on the prepared data set."""
    from rich.markup import escape

    if ranks.started(gpus, processes, nodes=nodes, rendezvous=rendezvous, restarts=max_restarts):
        return
    from tdpn_core.config.overrides import TrainOverrides
    from tdpn_core.training.launch import launch

    changed = options.parse_settings(settings) | ({"train.sync_bn": "true"} if sync_bn else {})
    overrides = TrainOverrides(
        model=model,
        arch=arch,
        modality=modality,
        frames=frames,
        interval=interval,
        size=size,
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
            init=init,
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
