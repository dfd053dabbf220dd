"""`tdpn prep`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import tdpn_core
from tdpn_cli import options, output
from tdpn_cli import overview as words
from tdpn_core import defaults
from tdpn_core.errors import DatasetError
from tdpn_core.wording import agree

if TYPE_CHECKING:
    from tdpn_core import BackgroundOptions, Overview, PrepReport

EXAMPLES = options.epilog(
    "tdpn prep folder --root my_clips",
    "tdpn prep auto --root /data/unknown --dry-run",
    "tdpn prep auto --root my_videos --background",
    "tdpn prep kinetics400 --root /data/kinetics400 --download",
    "tdpn prep epic100 --root /data/EPIC-KITCHENS --codec video",
    "tdpn prep kinetics400 --root /shared/k400 --out s3://bucket/k400 --executor ray",
)


DATA, FRAMES, RUN = options.DATA, "Frames", "Run"


def prep(
    context: typer.Context,
    dataset: Annotated[
        str,
        typer.Argument(
            help="Data set or layout: auto (detect), folder (one folder per class), list, or a data set's name.",
            autocompletion=options.complete_dataset,
        ),
    ],
    root: Annotated[Path, typer.Option("--root", help="Folder of the data set.", rich_help_panel=DATA)],
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            help="Output folder or fsspec URL of the shards (default: data/<dataset>).",
            show_default=False,
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    download: Annotated[
        bool,
        typer.Option("--download", help="Download what is missing under --root first.", rich_help_panel=DATA),
    ] = False,
    annotations: Annotated[
        list[Path] | None,
        typer.Option(
            "--annotations",
            help="Annotation or list files, or their folder, here or under --root (default: all under --root).",
            show_default=False,
            rich_help_panel=DATA,
        ),
    ] = None,
    split: Annotated[
        int,
        typer.Option("--split", help="Official split of UCF101 and HMDB51: 1, 2 or 3.", rich_help_panel=DATA),
    ] = defaults.OFFICIAL_SPLIT,
    label_order: Annotated[
        Literal["official", "file", "sorted", "cleaned"],
        typer.Option("--label-order", help="Class order.", rich_help_panel=DATA),
    ] = defaults.LABEL_ORDER,
    class_list: Annotated[
        Path | None,
        typer.Option(
            "--class-list",
            help="File of class names, one per line, in the order to use.",
            show_default=False,
            rich_help_panel=DATA,
        ),
    ] = None,
    sources: Annotated[
        Literal["auto", "videos", "frames"],
        typer.Option("--sources", help="Source of a clip that has both a video and frames.", rich_help_panel=DATA),
    ] = defaults.SOURCES,
    ignore_segments: Annotated[
        bool,
        typer.Option(
            "--ignore-segments",
            help="Pack entire videos although the list has start and end columns.",
            rich_help_panel=DATA,
        ),
    ] = False,
    multilabel: Annotated[
        bool,
        typer.Option(
            "--multilabel",
            help="A clip may belong to several classes: join its lines, or the segments that cover most of it.",
            rich_help_panel=DATA,
        ),
    ] = False,
    overlaps: Annotated[
        Literal["refuse", "keep", "first", "longest"],
        typer.Option(
            "--overlaps", help="Overlapping segments with different labels: which to use.", rich_help_panel=DATA
        ),
    ] = defaults.OVERLAPS,
    background: Annotated[
        bool,
        typer.Option(
            "--background",
            help=f"Use gaps between annotated segments as clips of the class {defaults.BACKGROUND}.",
            rich_help_panel=DATA,
        ),
    ] = False,
    background_share: Annotated[
        float | None,
        typer.Option(
            "--background-share",
            help=f"Share of background clips in each split, with --background implied (default: "
            f"{defaults.BACKGROUND_SHARE:g}).",
            show_default=False,
            rich_help_panel=DATA,
        ),
    ] = None,
    background_length: Annotated[
        float | None,
        typer.Option(
            "--background-length",
            help="Shortest background clip in seconds, with --background implied (default: "
            f"{defaults.BACKGROUND_LENGTH:g}).",
            show_default=False,
            rich_help_panel=DATA,
        ),
    ] = None,
    background_margin: Annotated[
        float | None,
        typer.Option(
            "--background-margin",
            help="Distance of background clips from segments in seconds, with --background implied (default: "
            f"{defaults.BACKGROUND_MARGIN:g}).",
            show_default=False,
            rich_help_panel=DATA,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option("--seed", help="Random seed of the split, if the data set has none.", min=0, rich_help_panel=DATA),
    ] = defaults.SEED,
    codec: Annotated[
        Literal["jpeg", "video"],
        typer.Option(
            "--codec",
            help="Storage: jpeg, or video (H.264; a tenth of the disk space, slower to read).",
            rich_help_panel=FRAMES,
        ),
    ] = defaults.CODEC,
    flow: Annotated[
        bool, typer.Option("--flow", help="Pack optical flow instead of colour frames.", rich_help_panel=FRAMES)
    ] = False,
    short_side: Annotated[
        int,
        typer.Option(
            "--short-side",
            help="Short side of the frames in pixels; smaller frames are not enlarged.",
            rich_help_panel=FRAMES,
        ),
    ] = defaults.SHORT_SIDE,
    enlarge: Annotated[
        bool, typer.Option("--enlarge", help="Enlarge smaller frames to --short-side.", rich_help_panel=FRAMES)
    ] = False,
    fps: Annotated[
        float | None,
        typer.Option(
            "--fps",
            help="Frame rate to resample to (default: the video's).",
            show_default=False,
            rich_help_panel=FRAMES,
        ),
    ] = None,
    quality: Annotated[
        int, typer.Option("--quality", help="JPEG quality: 2 (best) to 31.", rich_help_panel=FRAMES)
    ] = defaults.JPEG_QUALITY,
    max_frames: Annotated[
        int,
        typer.Option(
            "--max-frames", help="Longest clip in frames; longer clips are skipped.", min=1, rich_help_panel=FRAMES
        ),
    ] = defaults.MAX_FRAMES,
    max_pixels: Annotated[
        int,
        typer.Option(
            "--max-pixels", help="Largest frame in pixels; larger videos are skipped.", min=1, rich_help_panel=FRAMES
        ),
    ] = defaults.MAX_PIXELS,
    clip_timeout: Annotated[
        float | None,
        typer.Option(
            "--clip-timeout",
            help="Limit of processor time per clip in seconds (default: by length and frame size).",
            min=0.1,
            show_default=False,
            rich_help_panel=RUN,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            help="Parallel clips (default: one per core).",
            min=1,
            show_default=False,
            rich_help_panel=RUN,
        ),
    ] = None,
    executor: options.Executor = defaults.EXECUTOR,
    ray_address: options.RayAddress = None,
    ffmpeg: Annotated[
        Path | None,
        typer.Option(
            "--ffmpeg",
            help="ffmpeg program (default: the bundled one).",
            show_default=False,
            rich_help_panel=RUN,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show what is understood of the files and stop.", rich_help_panel=RUN),
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Do not ask before packing an implausible data set.", rich_help_panel=RUN),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Pack a data set into HDF5 shards. The same command continues after an interruption.

    What is understood of the files is shown first: classes, splits, columns, missing clips, probable copies.
    """
    options.check_executor(context, executor)
    settings = tdpn_core.PrepConfig(
        encoding=tdpn_core.Encoding(
            short_side=short_side,
            enlarge=enlarge,
            quality=quality,
            fps=fps,
            max_frames=max_frames,
            max_pixels=max_pixels,
            codec=codec,
            modality="flow" if flow else "rgb",
        ),
        clip_seconds=clip_timeout,
        dataset=tdpn_core.DatasetOptions(
            seed=seed,
            split=split,
            label_order=label_order,
            class_list=class_list,
            annotations=tuple(annotations) if annotations else None,
            sources=sources,
            ignore_segments=ignore_segments,
            multilabel=multilabel,
            overlaps=overlaps,
            background=_background(
                background, share=background_share, min_length=background_length, margin=background_margin
            ),
        ),
    )
    with output.progress(tdpn_core.prepare) as progress:
        if dry_run:
            seen = tdpn_core.understand(dataset, root, options=settings.dataset, download=download, progress=progress)
        else:
            check = _Check(yes=yes)
            report = tdpn_core.prepare(
                dataset,
                root,
                out,
                settings=settings,
                download=download,
                check=check,
                workers=workers,
                ffmpeg=ffmpeg,
                executor=executor,
                ray_address=ray_address,
                progress=progress,
            )
    if dry_run:
        _show_overview(seen, as_json=as_json)
    elif as_json:
        output.print_json(_plain(report, check.seen))
    else:
        show(report, said=check.seen.read.notes)


def _background(wanted: bool, **given: float | None) -> BackgroundOptions | None:
    """Return the options of background clips; any of them requests these."""
    stated = {name: value for name, value in given.items() if value is not None}
    return tdpn_core.BackgroundOptions(**stated) if wanted or stated else None


class _Check:
    """Shows what is understood, and goes on with what can hardly be meant only when a person agrees."""

    seen: Overview

    def __init__(self, *, yes: bool) -> None:
        self._yes = yes

    def __call__(self, seen: Overview) -> None:
        """Show `seen`.

        Raises:
            DatasetError: it can hardly be meant, and nobody agrees.
        """
        self.seen = seen
        for line in words.lines(seen):
            output.say(line)
        if not seen.nonsense or self._yes:
            return
        if sys.stdin.isatty() and sys.stderr.isatty() and typer.confirm("Pack it anyway?", err=True):
            return
        raise DatasetError(seen.nonsense[0], where=seen.root, hint="--yes packs it anyway")


def _plain(report: PrepReport, seen: Overview) -> dict[str, Any]:
    """The report as JSON values."""
    from tdpn_core.prep.overview import plain_values

    return {
        "path": report.path,
        "dataset": report.dataset,
        "clips": report.clips,
        "listed": report.listed,
        "added": report.added,
        "failed": report.failed,
        "failures": [{"source": f.source, "status": f.status, "reason": f.reason} for f in report.failures],
        "notes": report.notes,
        "twins": [asdict(twin) for twin in report.twins],
        "understood": plain_values(seen),
        "seconds": round(report.seconds, 3),
        "bytes": report.bytes,
        "digest": report.digest,
    }


def _show_overview(seen: Overview, *, as_json: bool) -> None:
    from tdpn_core.prep.overview import plain_values

    if as_json:
        output.print_json(plain_values(seen))
        return
    for line in words.lines(seen):
        output.stdout.print(line, markup=False, soft_wrap=True)


def show(report: PrepReport, said: Sequence[str] = ()) -> None:
    """The result on stdout; what was left out, and why, on stderr, without the notes that were `said` before."""
    from rich.markup import escape

    for note in report.notes:
        if note not in said:
            output.say(f"note: {note}")
    if report.failed:
        output.say(f"left out ({report.failed}):")
        for failure in report.failures[:20]:
            output.say(f"  {failure.source}: {failure.reason}")
        if report.failed > 20:
            output.say(f"  and {report.failed - 20} more, in {report.path}/ledger")
    splits = ", ".join(f"{count} {split}{_listed(report, split)}" for split, count in report.clips.items())
    clips = agree(sum(report.clips.values()), "clip", "clips")
    added = f"{report.added} packed now" if report.added else "nothing to do"
    output.stdout.print(
        f"[bold]{escape(report.path)}[/]: {splits} {clips}, {report.bytes / 1e6:.1f} MB; "
        f"{added}, {report.seconds:.1f} s",
        soft_wrap=True,
    )
    found_by_itself = Path(report.path) == Path("data") / Path(report.path).name
    if "train" not in report.clips:
        output.say("note: there are no training clips")
        return
    choice = "" if found_by_itself else f" --data {shlex.quote(report.path)}"
    output.stdout.print(f"[dim]next[/]  tdpn train{escape(choice)}", soft_wrap=True)


def _listed(report: PrepReport, split: str) -> str:
    """How many clips of a split are listed, where that is not how many are packed."""
    listed = report.listed.get(split, report.clips[split])
    return f" (of {listed} listed)" if listed != report.clips[split] else ""
