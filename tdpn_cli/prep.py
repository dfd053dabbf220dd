"""`tdpn prep`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tdpn_cli import options, output

if TYPE_CHECKING:
    from tdpn_core.prep import PrepReport

EXAMPLES = options.epilog(
    "tdpn prep folder --root my_clips", "tdpn prep kinetics400 --root /data/kinetics400 --out data/kinetics400"
)


def prep(
    dataset: Annotated[str, typer.Argument(help="folder (one folder of clips a class) or kinetics400.")],
    root: Annotated[Path, typer.Option("--root", help="Where the data set's videos lie.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Where the shards go (default: data/<dataset>).", show_default=False)
    ] = None,
    short_side: Annotated[int, typer.Option("--short-side", help="Pixels; clips are never enlarged.")] = 256,
    quality: Annotated[int, typer.Option("--quality", help="JPEG quantiser: 2 is best, 31 worst.")] = 3,
    seed: Annotated[int, typer.Option("--seed", help="Of the split, where the data set has none.", min=0)] = 0,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Clips at a time (default: one a core).", min=1, show_default=False)
    ] = None,
    ffmpeg: Annotated[
        Path | None, typer.Option("--ffmpeg", help="Use this ffmpeg instead of the bundled one.", show_default=False)
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Pack a data set's videos into HDF5 shards of JPEG frames. Run again, it continues where it stopped."""
    from tdpn_core.prep import PrepConfig, prepare

    settings = PrepConfig(short_side=short_side, quality=quality, seed=seed)
    with output.progress() as progress:
        report = prepare(dataset, root, out, settings=settings, workers=workers, ffmpeg=ffmpeg, progress=progress)
    if as_json:
        output.print_json(
            {
                "path": str(report.path),
                "clips": report.clips,
                "added": report.added,
                "failures": [{"source": f.source, "reason": f.reason} for f in report.failures],
                "notes": report.notes,
                "seconds": round(report.seconds, 3),
                "bytes": report.bytes,
                "digest": report.digest,
            }
        )
    else:
        show(report)


def show(report: PrepReport) -> None:
    """What lies where on stdout; what was left out, and why, on stderr."""
    from rich.markup import escape

    for note in report.notes:
        output.say(f"note: {note}")
    if report.failures:
        output.say(f"left out, because they cannot be decoded ({len(report.failures)}):")
        for failure in report.failures[:20]:
            output.say(f"  {failure.source}: {failure.reason}")
        if len(report.failures) > 20:
            output.say(f"  and {len(report.failures) - 20} more, in {report.path / 'manifest.json'}")
    splits = ", ".join(f"{count} {split}" for split, count in report.clips.items())
    added = f"{report.added} packed now" if report.added else "nothing to do"
    output.stdout.print(
        f"[bold]{escape(str(report.path))}[/]: {splits} clips, {report.bytes / 1e6:.1f} MB; "
        f"{added}, {report.seconds:.1f} s",
        soft_wrap=True,
    )
    found_by_itself = report.path == Path("data") / report.path.name
    choice = "" if found_by_itself else f" --data {shlex.quote(str(report.path))}"
    output.stdout.print(f"[dim]next[/]  tdpn train{escape(choice)}", soft_wrap=True)
