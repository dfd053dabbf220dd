"""`tdpn demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import tdpn_core
from tdpn_cli import options, output
from tdpn_core import defaults

if TYPE_CHECKING:
    from tdpn_core import DemoResult

EXAMPLES = options.epilog("tdpn demo", "tdpn demo --out /tmp/demo --epochs 3")


@options.in_one_panel
def demo(
    out: Annotated[Path, typer.Option("--out", help="Output folder.")] = Path(defaults.DEMO_FOLDER),
    epochs: Annotated[int, typer.Option("--epochs", help="Training epochs.", min=1)] = defaults.DEMO_EPOCHS,
    clips: Annotated[int, typer.Option("--clips", help="Training clips per class.", min=2)] = defaults.DEMO_CLIPS,
    seed: Annotated[int, typer.Option("--seed", help="Random seed.", min=0)] = defaults.SEED,
    gpus: options.Gpus = None,
    as_json: options.Json = False,
) -> None:
    """Render a small data set of motions, prepare it, train, evaluate and predict: a tour in five minutes."""
    with output.progress(tdpn_core.run_demo) as progress:
        result = tdpn_core.run_demo(out, clips=clips, epochs=epochs, seed=seed, gpus=gpus, progress=progress)
    if as_json:
        from tdpn_core.evaluation.report import summary

        output.print_json(
            {
                "evaluation": summary(result.evaluation),
                "commands": result.commands,
                "seconds": result.seconds,
                "report": str(result.report),
            }
        )
    else:
        show(result)


def show(result: DemoResult) -> None:
    """Print commands, results and output files."""
    from tdpn_cli import evaluate, predict

    evaluate.show(result.evaluation)
    predict.show(result.predicted)
    output.stdout.print("\n[bold]What ran[/]  (each step can be repeated on your own clips)")
    for command in result.commands:
        output.stdout.print(f"  $ {command}", soft_wrap=True)
    times = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.seconds.items())
    output.stdout.print(f"[dim]time[/]    {times}; {sum(result.seconds.values()):.0f} s in all", soft_wrap=True)
    output.stdout.print(f"[dim]report[/]  {result.report.with_suffix('.html')}", soft_wrap=True)
