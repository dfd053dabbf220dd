"""`tdpn data`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import tdpn_core
from tdpn_cli import options, output
from tdpn_core.errors import UsageError
from tdpn_core.wording import counted

if TYPE_CHECKING:
    from tdpn_core import Inspection
    from tdpn_core.prep.inspect import Prepared, SplitSummary, Summary

EXAMPLES = options.epilog(
    "tdpn data",
    "tdpn data data/kinetics400 --verify",
    "tdpn data --preview clips.png",
    "tdpn data --preview seen.png --as-trained",
    "tdpn data --review review.html",
    "tdpn data --json",
)

_LISTED = 20  # classes, reasons and faults that are shown one by one; --json has all


@options.in_one_panel
def data(
    folder: Annotated[
        Path | None, typer.Argument(help="Prepared data set (default: the one under data/).", show_default=False)
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read every byte and compare all checksums.")] = False,
    preview: Annotated[
        Path | None,
        typer.Option("--preview", help="PNG file to write a contact sheet of clips to.", show_default=False),
    ] = None,
    as_trained: Annotated[
        bool,
        typer.Option("--as-trained", help="Show training clips of the preview with the default recipe's augmentation."),
    ] = False,
    review: Annotated[
        Path | None,
        typer.Option(
            "--review",
            help="Page (.html) to write with the training clips whose label is doubted most, and a table (.csv).",
            show_default=False,
        ),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            "--features",
            help="Folder of extracted features for --review (default: the only one in the data set's folder).",
            show_default=False,
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Inspect a prepared data set, finished or not: clips, hours, classes, skipped clips with the reasons."""
    if features is not None and review is None:
        raise UsageError("is for doubted labels", where="--features", hint="add --review review.html")
    if as_trained and preview is None:
        raise UsageError("draws nothing without a file", where="--as-trained", hint="add --preview clips.png")
    with output.progress(tdpn_core.inspect_data) as progress:
        found = tdpn_core.inspect_data(folder, verify=verify, progress=progress)
    if as_json:
        output.print_json(_values(found))
    else:
        _show(found)
    if preview is not None:
        shown = tdpn_core.draw_clips(found, preview, as_trained=as_trained)
        output.say(f"{preview}: {len(shown)} clips")
    if review is not None:
        with output.progress(tdpn_core.review_labels) as progress:
            doubts = tdpn_core.review_labels(found.prepared.folder, review, features=features, progress=progress)
        output.say(f"{review}: {len(doubts)} training clips with a doubted label")
    if error := found.error():  # also for a program that looks at the exit code only
        raise error


def _values(found: Inspection) -> dict[str, Any]:
    prepared, summary = found.prepared, found.summary
    manifest, recorded = prepared.manifest, prepared.recorded
    return {
        "path": str(prepared.folder),
        "dataset": manifest.dataset,
        "finished": prepared.finished,
        "owner": prepared.owner,
        "digest": manifest.digest if prepared.finished else None,
        "packing": summary.packings,
        "settings": manifest.settings,
        "made_with": manifest.made_with,
        "label_order": manifest.label_order,
        "splits": {split: asdict(counts) for split, counts in summary.splits.items()},
        "classes": summary.classes,
        "twins": [asdict(twin) for twin in manifest.twins],
        "left_out": [asdict(reason) for reason in recorded.reasons],
        "complaints": recorded.complaints,
        "verified": found.verified,
        "faults": [asdict(fault) for fault in found.faults],
        "damaged_records": prepared.damaged,
    }


def _show(inspection: Inspection) -> None:
    """The facts on stdout; what is wrong on stderr."""
    prepared, summary = inspection.prepared, inspection.summary
    _print_splits(prepared, summary)
    met = [split for split, found in summary.splits.items() if found.clips or found.left_out]
    for head, classes in summary.classes.items():
        _print_classes(head, classes, met)
    if prepared.recorded.reasons:
        _print_reasons(prepared)
    if prepared.recorded.complaints:
        clips = counted(prepared.recorded.complaints, "clip is", "clips are")
        output.say(f"note: {clips} complete although the decoder reported errors")
    for note in inspection.notes:
        output.say(f"note: {note}")
    if not prepared.finished:
        state = prepared.owner or "run the same tdpn prep command again"
        output.say(f"note: this preparation has not come to its end; {state}")
    for line in [*prepared.damaged, *map(str, inspection.faults)]:
        output.say(f"bad: {line}")
    if inspection.verified and not inspection.faults:
        output.say(f"verified: all {len(summary.sound)} shards are as they were written")


def _print_splits(prepared: Prepared, summary: Summary) -> None:
    from rich.markup import escape

    manifest = prepared.manifest
    state = "" if prepared.finished else ", unfinished"
    size = sum(found.bytes for found in summary.splits.values())
    form = _form(summary, manifest.settings) + (", several labels per clip" if manifest.multilabel else "")
    line = f"[bold]{escape(str(prepared.folder))}[/]: {escape(manifest.dataset)}{state}, {size / 1e6:.1f} MB, {form}"
    output.stdout.print(line, soft_wrap=True)
    columns: tuple[str, ...] = ("split", "clips", "hours", "frames", "MB", "shards", "left out")
    rows: list[tuple[str, ...]] = [
        (split, f"{f.clips}", f"{f.hours:.2f}", f"{f.frames}", f"{f.bytes / 1e6:.1f}", f"{f.shards}", f"{f.left_out}")
        for split, f in summary.splits.items()
    ]
    if manifest.listed:
        columns += ("not on disk", "listed")
        found = summary.splits.values()
        rows = [(*row, *_listed(one, prepared.finished)) for row, one in zip(rows, found, strict=True)]
    output.stdout.print(_table(columns, rows))


def _listed(found: SplitSummary, finished: bool) -> tuple[str, str]:
    """How many listed clips were not on disk, which is known in the end only, and how many are listed."""
    if found.listed is None:
        return "", ""
    return f"{found.listed - found.clips - found.left_out}" if finished else "", f"{found.listed}"


def _form(summary: Summary, settings: dict[str, Any]) -> str:
    packing = " and ".join(summary.packings) or "nothing packed"
    method = f" ({settings['flow_method']})" if "flow" in summary.packings else ""
    rate = f", {settings['fps']:g} frames a second" if settings.get("fps") else ""
    return f"{packing}{method}, short side {settings.get('short_side')}{rate}"


def _print_classes(head: str, classes: dict[str, dict[str, int]], splits: list[str]) -> None:
    if len(classes) <= _LISTED:
        rows = [(name, *(str(counts[split]) for split in splits)) for name, counts in classes.items()]
        output.stdout.print(_table((head, *splits), rows))
        return
    for split in splits:
        counts = sorted((counts[split], name) for name, counts in classes.items())
        empty = [name for count, name in counts if not count]
        some = counts[len(empty) :]
        if not some:
            continue
        (fewest, rarest), (most, commonest) = some[0], some[-1]
        line = f"{head}, {split}: {len(some)} of {len(classes)} classes, {fewest} ({rarest}) to {most} ({commonest})"
        missing = f"; none of {', '.join(empty[:5])}{' …' if len(empty) > 5 else ''}" if empty else ""
        output.stdout.print(_printable(line + missing), markup=False, soft_wrap=True)


def _print_reasons(prepared: Prepared) -> None:
    reasons = prepared.recorded.reasons
    rows = [(str(reason.clips), reason.status, reason.text, reason.example) for reason in reasons[:_LISTED]]
    output.stdout.print(_table(("left out", "", "reason", "example"), rows))
    if len(reasons) > _LISTED:
        output.say(f"and {len(reasons) - _LISTED} more reasons, in --json")


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        digits = all(row[number].replace(".", "").isdecimal() for row in rows)
        table.add_column(column, justify="right" if digits else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_printable(cell)) for cell in row))
    return table


def _printable(text: str) -> str:
    """A name as one line that any terminal takes."""
    return text.encode(errors="backslashreplace").decode().replace("\n", "\\n")
