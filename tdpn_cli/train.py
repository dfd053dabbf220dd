"""`tdpn train`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import tdpn_core
from tdpn_cli import options, output, ranks
from tdpn_core import defaults
from tdpn_core.distributed.command import device_of
from tdpn_core.errors import UsageError

if TYPE_CHECKING:
    from tdpn_core import Progress, TrainOverrides, TrainResult

EXAMPLES = options.epilog(
    "tdpn train",
    "tdpn train --arch r101 --gpus 6",
    "tdpn train --epochs 50 --batch-size 8",
    "tdpn train --config runs/a/config.json --set train.lr=0.01",
    "tdpn train --probe linear",
    "tdpn train --resume",
)

_NOT_OF_PROBES = ("gpus", "processes", "nodes", "rendezvous", "max_restarts", "timeout", "workers", "keep")
"""Parameters of the command that have no effect on a probe, which is trained in this process on the CPU."""


def train(
    context: typer.Context,
    data: options.Data = None,
    model: options.Model = None,
    arch: options.Arch = None,
    modality: options.ModalityChoice = None,
    frames: options.Frames = None,
    interval: options.Interval = None,
    size: options.Size = None,
    init: options.Init = None,
    ema: options.Ema = None,
    recipe: options.Recipe = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="config.json of another run, used in place of a recipe.",
            show_default=False,
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    accumulate: options.Accumulate = None,
    lr: options.LearningRate = None,
    seed: options.Seed = None,
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="Compile the network with torch.compile.",
            show_default=False,
            rich_help_panel=options.OPTIMISATION,
        ),
    ] = None,
    settings: options.Settings = None,
    gpus: options.Gpus = None,
    processes: options.Processes = None,
    nodes: options.Nodes = defaults.NODES,
    rendezvous: options.Rendezvous = None,
    max_restarts: options.Restarts = defaults.MAX_RESTARTS,
    timeout: options.Timeout = defaults.TIMEOUT,
    sync_bn: Annotated[
        bool,
        typer.Option(
            "--sync-bn", help="Synchronise batch normalisation over all processes.", rich_help_panel=options.DISTRIBUTED
        ),
    ] = False,
    workers: options.Workers = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Output folder of the run (default: a new one under runs/).",
            show_default=False,
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    probe: Annotated[
        defaults.ProbeKind | None,
        typer.Option(
            "--probe",
            help="Train only a classifier, on the features of tdpn features: linear or attentive.",
            show_default=False,
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            "--features",
            help="Folder of extracted features for --probe (default: the one in the data set's folder).",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
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

    if probe is not None:
        options.refuse(context, _NOT_OF_PROBES, by="--probe")
    if ranks.run_in_ranks(gpus, processes, nodes=nodes, rendezvous=rendezvous, restarts=max_restarts):
        return
    changed = options.parse_settings(settings) | ({"train.sync_bn": "true"} if sync_bn else {})
    overrides = tdpn_core.TrainOverrides(
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
    with output.progress(tdpn_core.train) as progress:
        if probe is not None or features is not None:
            chosen = {"--recipe": recipe, "--config": config, "--ema/--no-ema": ema, "--track": track}
            chosen |= {"--resume": resume or resume_from}
            result = _probe(probe, chosen, overrides, data=data, features=features, out=out, progress=progress)
        else:
            result = tdpn_core.train(
                data=data,
                out=out,
                recipe=recipe,
                config_file=config,
                gpus=device_of(gpus, processes),
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
    state = result.state
    if as_json:
        score = {result.metric: state.best_score}
        output.print_json({"checkpoint": str(result.best), "epochs": state.epoch, **score, "history": state.history})
    else:
        output.stdout.print(f"best {result.title} [bold]{state.best_score:.1%}[/]", highlight=False)
        output.stdout.print(f"[dim]next[/]  tdpn eval {escape(shlex.quote(str(result.best)))}", soft_wrap=True)


def _probe(
    kind: defaults.ProbeKind | None,
    chosen: dict[str, Any],
    overrides: TrainOverrides,
    *,
    data: Path | None,
    features: Path | None,
    out: Path | None,
    progress: Progress,
) -> TrainResult:
    """Train a classifier on features.

    Raises:
        UsageError: no kind, or options that change a network: its features are as they are.
    """
    if kind is None:
        raise UsageError("is for --probe", where="--features", hint="add --probe linear or --probe attentive")
    asked = [option for option, value in chosen.items() if value]
    asked += sorted(overrides.asked() - {"train.seed"})
    if asked:
        what = f"{', '.join(asked)} would change the network, but features are extracted already"
        raise UsageError(what, where="--probe", hint="leave it out, or choose other features with tdpn features")
    return tdpn_core.train_probe(
        data, probe=kind, features=features, out=out, seed=overrides.seed or 0, progress=progress
    )
