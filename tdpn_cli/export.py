"""`tdpn export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import tdpn_core
from tdpn_cli import options, output
from tdpn_core import defaults

if TYPE_CHECKING:
    from tdpn_core import ExportReport

EXAMPLES = options.epilog(
    "tdpn export runs/folder-tdpn-r18/best.pt",
    "tdpn export best.pt --int8 --clips my_clips",
    "tdpn export best.pt --format pt2 --out model.pt2",
    "tdpn export tsm_r50.pth --classes names.txt --clips my_clips",
)


def export(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of tdpn or another project.")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Prepared data for the comparison (default: that of the checkpoint).",
            show_default=False,
            autocompletion=options.complete_data,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    clips: Annotated[
        list[str] | None,
        typer.Option(
            "--clips",
            help="Videos for the comparison (default: --data).",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    compared: Annotated[
        int | None,
        typer.Option(
            "--compare",
            help="Number of clips for the comparison "
            f"(default: {defaults.COMPARED_CLIPS}; with --int8 {defaults.COMPARED_CLIPS_INT8}).",
            show_default=False,
            min=1,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    calibrated: Annotated[
        int,
        typer.Option(
            "--calibrate", help="Number of clips for the calibration of int8.", min=1, rich_help_panel=options.DATA
        ),
    ] = defaults.CALIBRATION_CLIPS,
    classes: options.Classes = None,
    ema: options.Ema = None,
    family: options.ModelSource = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="File to write (default: next to the checkpoint).",
            show_default=False,
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    kind: Annotated[
        Literal["onnx", "pt2"],
        typer.Option("--format", help="File format: onnx, or pt2 (torch.export).", rich_help_panel=options.OUTPUT),
    ] = defaults.FORMAT,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Quantise to 8-bit integers for CPUs; ONNX only.", rich_help_panel=options.OUTPUT),
    ] = False,
    tolerance: Annotated[
        float,
        typer.Option(
            "--tolerance", help="Largest accepted difference of a probability.", rich_help_panel=options.OUTPUT
        ),
    ] = defaults.TOLERANCE,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite an existing file.", rich_help_panel=options.OUTPUT)
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Export a network as one file: uint8 frames in, probabilities out, labels included.

    It is compared with the network on real clips before it is called done.
    """
    options.use_model(family)
    wanted = tdpn_core.ExportOptions(
        format=kind,
        int8=int8,
        clips=clips,
        data=data,
        classes=classes,
        ema=ema,
        compared=compared,
        calibrated=calibrated,
        tolerance=tolerance,
        force=force,
    )
    with output.progress(tdpn_core.export) as progress:
        report = tdpn_core.export(checkpoint, out, options=wanted, progress=progress)
    if as_json:
        output.print_json(plain(report))
    else:
        show(report)


def show(report: ExportReport) -> None:
    """What was written and how it compares, on stdout."""
    from rich.markup import escape

    check = report.check
    output.stdout.print(f"[bold]{escape(str(report.path))}[/]  {report.bytes / 1e6:.1f} MB", soft_wrap=True)
    shape = report.description["input"]
    dimensions = ", ".join(map(str, shape["shape"]))
    output.stdout.print(f"  input       {shape['name']} {shape['type']} ({dimensions})", soft_wrap=True)
    heads = ", ".join(f"{head} ({count} classes)" for head, (_, count) in report.description["outputs"].items())
    output.stdout.print(f"  output      {escape(heads)}, probabilities", soft_wrap=True)
    agreement = ", ".join(f"{share:.1%}" for share in check.agreement.values())
    output.stdout.print(
        f"  compared    {check.clips} clips: largest difference {check.difference:.1e}, same class {agreement}",
        soft_wrap=True,
    )
    for head, (own, exported) in check.accuracy.items():
        output.stdout.print(f"  {escape(head)} top-1  {own:.1%} network, {exported:.1%} file", soft_wrap=True)


def plain(report: ExportReport) -> dict[str, object]:
    """The report as JSON values."""
    return {
        "path": str(report.path),
        "bytes": report.bytes,
        "format": report.format,
        "int8": report.int8,
        "clips": report.check.clips,
        "difference": report.check.difference,
        "agreement": report.check.agreement,
        "accuracy": {head: {"network": own, "file": got} for head, (own, got) in report.check.accuracy.items()},
        "description": report.description,
    }
