"""Fit segments to their videos: frames become seconds, and segments beyond a video's end are left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from tdpn_core.datasets import Dataset
from tdpn_core.datasets.background import BackgroundOptions, Span, is_background
from tdpn_core.datasets.clip_table import HEAD, VIDEO
from tdpn_core.datasets.train_val_split import DRAWN, drawn_note
from tdpn_core.errors import ClipError, DatasetError, UsageError
from tdpn_core.prep.background_clips import add_background
from tdpn_core.video.probe import Probe, probe
from tdpn_core.wording import agree, counted

_SHOWN = 3
_USUAL_RATE = Fraction(25)
_VARIES = 0.01  # relative difference of the average rate and the rate of the time stamps
_BEFORE = Fraction(1, 4)  # of a frame, so that rounding of time stamps moves no frame into or out of a segment


@dataclass
class _Findings:
    """Rows that do not fit their videos."""

    beyond: list[int] = field(default_factory=list)
    shortened: list[int] = field(default_factory=list)
    unreadable: list[int] = field(default_factory=list)
    varying: set[str] = field(default_factory=set)


def fit_segments(table: Dataset, background: BackgroundOptions | None = None) -> Dataset:
    """Return a table of segments with times in seconds that are within their videos, and clips of the gaps if asked.

    Every video with segments is opened once to read its header. Frame numbers are divided by the exact rate in it, for
    example 30000/1001. A segment that starts at or after its video's end is left out; one that extends beyond it is
    shortened. If a video cannot be opened, its segments in frames are left out, and those in seconds remain, so that
    packing reports it. A table without segments, or one that is fitted already, is returned as it is.

    Raises:
        DatasetError: no clip remains.
        UsageError: background clips are requested of a data set without annotated segments.
    """
    clips = table.clips
    ids, sources = clips["id"].tolist(), clips["source"].tolist()
    rows = [row for row, (clip, kind) in enumerate(zip(ids, clips["kind"], strict=True))
            if kind == VIDEO and clip in table.unfitted]  # fmt: skip
    if background is not None and (
        not (table.multilabel or any(map(is_background, next(iter(table.classes.values())))))
        or not (rows or table.annotated)
    ):
        what = f"the {table.name} data set has no videos with annotated segments, between which background could be"
        raise UsageError(what, where="--background", hint="leave it out")
    if not rows:
        return table
    headers = _headers(table.root, sorted({sources[row] for row in rows}))
    columns = {name: clips[name].to_numpy(copy=True) for name in ("start", "stop", "first", "last")}
    start, stop, first, last = columns.values()
    found = _Findings()
    for row in rows:
        header, in_frames = headers[sources[row]], last[row] >= 0
        if header is None:
            if in_frames:
                found.unreadable.append(row)
            continue
        rate = _rate(header)
        if in_frames:
            start[row] = max(0.0, float((int(first[row]) - _BEFORE) / rate))
            stop[row] = float((int(last[row]) + 1 - _BEFORE) / rate)
            first[row], last[row] = 0, -1
            found.varying |= {sources[row]} if _varies(header) else set()
        end = _end(header)
        if end is not None and start[row] >= end:
            found.beyond.append(row)
        elif end is not None and stop[row] > end + 1 / rate:
            found.shortened.append(row)
            stop[row] = end
    notes = _notes(found, [f"{table.unfitted.get(clip, '')} {clip}".strip() for clip in ids])
    left = np.isin(np.arange(len(clips)), [*found.beyond, *found.unreadable])
    if left.all():
        hint = "if the videos are already cut to the segments, pass --ignore-segments"
        raise DatasetError(f"no segment is within its video: {'; '.join(notes)}", where=table.root, hint=hint)
    fitted = clips.assign(**columns)[~left].reset_index(drop=True)
    kept = set(fitted["id"].tolist())
    groups = {clip: group for clip, group in table.groups.items() if clip in kept}
    notes = [*table.notes, *notes]
    if groups and left.any():
        drawn = [place for place, clip in enumerate(fitted["id"]) if clip in groups]
        splits, ids = fitted["split"].iloc[drawn].tolist(), fitted["id"].iloc[drawn].tolist()
        named = dataclasses.replace(table, clips=fitted).class_names(HEAD)
        classes = [named[place] for place in drawn]
        note = drawn_note(splits, [groups[clip] for clip in ids], classes, table.seed, noun="segment")
        notes = [note if line.startswith(DRAWN) else line for line in notes]
    table = dataclasses.replace(table, clips=fitted, notes=notes, groups=groups, unfitted={})
    return table if background is None else add_background(table, _spans(table, headers), background)


def _spans(table: Dataset, headers: Mapping[str, Probe | None]) -> dict[str, tuple[list[Span], float]]:
    """Return all annotated spans, in seconds, and the length of each video whose annotation is complete."""
    found = {}
    for source, parts in table.annotated.items():
        header = headers.get(source)
        end = _end(header) if header else None
        if header is not None and end is not None:
            rate = float(_rate(header))
            spans = [(start / rate, stop / rate) if in_frames else (start, stop) for start, stop, in_frames in parts]
            found[source] = (spans, end)
    return found


def _headers(root: Path, sources: list[str]) -> dict[str, Probe | None]:
    with ThreadPoolExecutor() as pool:
        return dict(zip(sources, pool.map(lambda source: _header(root / source), sources), strict=True))


def _header(path: Path) -> Probe | None:
    try:
        return probe(path)
    except ClipError:  # reported when it is packed
        return None


def _end(header: Probe) -> float | None:
    return header.video.seconds or header.seconds


def _rate(header: Probe) -> Fraction:
    return header.video.rates[0] if header.video.rates else _USUAL_RATE


def _varies(header: Probe) -> bool:
    rates = header.video.rates
    return len(rates) > 1 and abs(float(rates[1] / rates[0]) - 1) > _VARIES


def _notes(found: _Findings, described: list[str]) -> list[str]:
    notes = []
    kinds = (
        (found.beyond, ("starts", "start"), "after the end of the video and {are} left out"),
        (found.shortened, ("extends", "extend"), "beyond the end of the video and {are} shortened"),
        (found.unreadable, ("is", "are"), "in frames of a video that cannot be opened and {are} left out"),
    )
    for rows, verb, what in kinds:
        if rows:
            some = "; ".join(described[row] for row in rows[:_SHOWN])
            end = what.format(are=agree(len(rows), "is", "are"))
            notes.append(f"{counted(len(rows), 'segment')} {agree(len(rows), *verb)} {end}: {some}")
    if found.varying:
        count, some = len(found.varying), ", ".join(sorted(found.varying)[:_SHOWN])
        what = f"{counted(count, 'video')} annotated in frames may have a variable frame rate: the average is"
        notes.append(f"{what} used; give seconds to be exact: {some}")
    return notes
