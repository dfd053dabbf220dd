"""`tdpn bench infer`, `tdpn bench train` and `tdpn bench data`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import tdpn_core
from tdpn_cli import options, output
from tdpn_core import defaults

if TYPE_CHECKING:
    from rich.table import Table

    from tdpn_core import Bench

EXAMPLES = {
    "infer": options.epilog("tdpn bench infer", "tdpn bench infer --model all --size 112 --batch-size 2"),
    "train": options.epilog("tdpn bench train --arch r101", "tdpn bench train --frames 32 --profile trace.json"),
    "data": options.epilog("tdpn bench data", "tdpn bench data --data data/kinetics400 --clips 64"),
}
Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="NAME",
        help="Model family, my_module:MY_FAMILY, or all.",
        autocompletion=options.complete_model,
        rich_help_panel=options.MODEL,
    ),
]
Size = Annotated[int, typer.Option("--size", help="Input size in pixels.", min=32, rich_help_panel=options.MODEL)]
Batch = Annotated[
    int, typer.Option("--batch-size", help="Clips per step.", min=1, rich_help_panel=options.OPTIMISATION)
]
Rounds = Annotated[
    int,
    typer.Option(
        "--rounds", help="Measurements of each form; the median is reported.", min=1, rich_help_panel=options.EVALUATION
    ),
]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile", help="Compile the optimised form with torch.compile.", rich_help_panel=options.OPTIMISATION
    ),
]
Profile = Annotated[
    Path | None,
    typer.Option(
        "--profile",
        help="File to write a trace of one step to, for chrome://tracing.",
        show_default=False,
        rich_help_panel=options.OUTPUT,
    ),
]

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Measure speed relative to a baseline.")


@app.command(
    "infer",
    epilog=EXAMPLES["infer"],
    help="Time inference relative to the plain form of the network, and compare the outputs.",
)
@app.command(
    "train",
    epilog=EXAMPLES["train"],
    help="Time training steps (forward, backward, optimiser) relative to the plain form of the network, and compare "
    "the outputs.",
)
def compute(
    context: typer.Context,
    model: Model = defaults.MODEL,
    arch: options.FamilyArch = None,
    frames: options.FamilyFrames = None,
    size: Size = defaults.BENCH_SIZE,
    init: options.Init = None,
    batch_size: Batch = defaults.BENCH_BATCH,
    compiled: Compile = False,
    settings: options.Settings = None,
    rounds: Rounds = defaults.BENCH_ROUNDS,
    gpus: options.Gpus = None,
    profile: Profile = None,
    as_json: options.Json = False,
) -> None:
    """Both commands, which differ in what is timed."""
    overrides = tdpn_core.TrainOverrides(
        arch=arch, frames=frames, size=size, init=init, settings=options.parse_settings(settings)
    )
    with output.progress(tdpn_core.bench_models) as progress:
        results = tdpn_core.bench_models(
            "train" if context.info_name == "train" else "infer",
            None if model == "all" else [model],
            batch=batch_size,
            rounds=rounds,
            compiled=compiled,
            profile=profile,
            overrides=overrides,
            gpus=gpus,
            progress=progress,
        )
    if as_json:
        output.print_json([as_values(result) for result in results])
    else:
        show(results)
    if profile is not None:
        output.say(f"trace in {profile}: open it in chrome://tracing or ui.perfetto.dev")


@app.command("data", epilog=EXAMPLES["data"])
@options.in_one_panel
def data(
    data: options.Data = None,
    split: Annotated[str, typer.Option("--split", help="Split: train, val or test.")] = defaults.READING_SPLIT,
    clips: Annotated[
        int, typer.Option("--clips", help="Number of random clips to read.", min=1)
    ] = defaults.READING_CLIPS,
    rounds: Annotated[
        int, typer.Option("--rounds", help="Measurements; the median is reported.", min=1)
    ] = defaults.READING_ROUNDS,
    as_json: options.Json = False,
) -> None:
    """Time the reading of prepared clips relative to plain decoding, by stage, with advice."""
    result = tdpn_core.bench_reading(tdpn_core.find_prepared(data), split=split, clips=clips, rounds=rounds)
    if as_json:
        rows = [dataclasses.asdict(row) | {"advice": row.advice} for row in result.rows]
        output.print_json({**vars(result), "folder": str(result.folder), "rows": rows})
    else:
        for line in result.lines():
            output.stdout.print(line, soft_wrap=True, markup=False)


def as_values(result: Bench) -> dict[str, Any]:
    """All that was measured, as plain values."""
    derived = {"clips_per_second": result.clips_per_second, "share_of_peak": result.share_of_peak}
    return dataclasses.asdict(result) | derived


def show(results: list[Bench]) -> None:
    """A line a network; of a single one every figure and where its time goes. On stdout."""
    first = results[0]
    output.stdout.print(_lines(results) if len(results) > 1 else _figures(first))
    output.stdout.print(
        f"plain: NCTHW, 3D convolutions, normalisations alone, of the same weights; peak: "
        f"{first.peak.operations / 1e9:.0f} GFLOP/s, {first.peak.source}",
        style="dim",
        highlight=False,
    )


def _lines(results: list[Bench]) -> Table:
    from rich.table import Table

    table = Table(title=_title(results[0]), title_justify="left")
    table.add_column("network", no_wrap=True)
    for name in ("GMAC", "plain clips/s", "clips/s", "of peak", "times plain", "by CPU time", "difference"):
        table.add_column(name, justify="right")
    for result in results:
        table.add_row(
            result.name,
            f"{result.gmac:.1f}",
            f"{result.batch / result.plain.step:.2f}",
            f"{result.clips_per_second:.2f}",
            f"{result.share_of_peak:.0%}",
            f"{result.ratio:.2f}",
            f"{result.processor_ratio:.2f}",
            f"{result.difference:.1e}",
        )
    return table


def _figures(result: Bench) -> Table:
    from rich.table import Table

    table = Table(title=f"{result.name}, {_title(result)}", title_justify="left")
    table.add_column("")
    for name in ("plain", "ours", "times plain"):
        table.add_column(name, justify="right")
    plain, ours = result.plain, result.chosen
    for part, seconds in ours.seconds.items():
        ratio = f"{result.ratio:.2f}" if part == "step" else f"{plain.seconds[part] / seconds:.2f}"
        table.add_row(f"{part}, s", f"{plain.seconds[part]:.3f}", f"{seconds:.3f}", ratio)
    table.add_row("processor, s", f"{plain.processor:.3f}", f"{ours.processor:.3f}", f"{result.processor_ratio:.2f}")
    table.add_row("clips/s", f"{result.batch / plain.step:.2f}", f"{result.clips_per_second:.2f}", "")
    share = result.operations / plain.step / result.peak.operations
    table.add_row("of peak", f"{share:.0%}", f"{result.share_of_peak:.0%}", "")
    memory = ["–" if form.memory is None else f"{form.memory / 2**30:.2f} GiB" for form in (plain, ours)]
    table.add_row("memory of a step", *memory, "", end_section=True)
    whole = sum(result.stages.values())
    for stage, seconds in result.stages.items():
        table.add_row(f"forward: {stage}", "", f"{seconds:.3f}", f"{seconds / whole:.0%}")
    table.add_row("difference of logits", "", f"{result.difference:.1e}", "")
    return table


def _title(result: Bench) -> str:
    return f"{result.what}, batch {result.batch}, {result.device}"
