"""The report of a scored timeline: text, and a page with a picture of each video, truth above prediction."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from tdpn_core.datasets.segments import ScoredSegment, Segment
from tdpn_core.evaluation.timeline_metrics import TimelineScores, matches
from tdpn_core.html_report.components import Cell, Share, note, table
from tdpn_core.html_report.page import Section, block, render_page
from tdpn_core.wording import counted

_LEFT, _WIDTH, _ROW, _GAP, _LETTER = 62, 900, 22, 4, 6.5  # of a picture, in its units
_TICKS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)  # seconds between marks
_MOST_TICKS = 12
_OVERLAP = 0.5  # temporal IoU of a right segment
_VIDEOS, _ERRORS = 50, 30  # drawn videos, and listed errors of a video


def headline(scores: TimelineScores) -> list[tuple[str, str]]:
    """Return the names and values of the main metrics."""
    means = scores.mean_average_precision
    labelled = "-" if scores.labelled_accuracy is None else f"{scores.labelled_accuracy:.1%}"
    return [
        ("mAP, mean of tIoU 0.10 to 0.95", f"{scores.average_map:.1%}"),
        ("mAP at tIoU 0.50", f"{means['0.50']:.1%}"),
        *((f"segment F1@{percent}", f"{value:.1%}") for percent, value in scores.f1.items()),
        ("edit score", f"{scores.edit:.1%}"),
        ("accuracy in time, with gaps", f"{scores.accuracy:.1%}"),
        ("accuracy in labelled time", labelled),
    ]


def text(scores: TimelineScores, notes: Sequence[str]) -> str:
    """Return the report as Markdown."""
    lines = ["# Timeline", "", "| metric | value |", "|---|---:|"]
    lines += [f"| {name} | {value} |" for name, value in headline(scores)]
    lines += ["", "| tIoU | mAP |", "|---:|---:|"]
    lines += [f"| {threshold} | {value:.1%} |" for threshold, value in scores.mean_average_precision.items()]
    if notes:
        lines += ["", *(f"- {line}" for line in notes)]
    return "\n".join([*lines, ""])


def page(
    scores: TimelineScores,
    truth: Sequence[Segment],
    predicted: Sequence[ScoredSegment],
    lengths: Mapping[str, float],
    notes: Sequence[str],
    files: Mapping[str, Path],
    folder: Path,
) -> str:
    """Return the report as HTML for `folder`: a picture of each video, those with most errors first.

    A segment of a video in `files` is a link that plays it.
    """
    rows: list[list[Cell]] = [[name, value] for name, value in headline(scores)]
    classes: list[list[Cell]] = [
        [label, Share(value), *(Share(scores.average_precision[one][label]) for one in ("0.30", "0.70"))]
        for label, value in sorted(scores.average_precision["0.50"].items(), key=lambda item: item[1])
    ]
    head = ["class", "AP at tIoU 0.50", "at 0.30", "at 0.70"]
    sections = [
        Section("Scores", [table("Metrics", ["metric", "value"], rows), *map(note, notes)]),
        Section("Classes", [table("Average precision, worst first", head, classes)]),
    ]
    names = sorted({one.video for one in truth} | {one.video for one in predicted} | set(lengths))
    hues = {label: number * 137 % 360 for number, label in enumerate(sorted({one.label for one in truth}))}
    drawn = [_Drawn(name, truth, predicted, lengths.get(name), hues, files.get(name), folder) for name in names]
    drawn.sort(key=lambda one: -one.errors)
    sections += [Section(f"{one.name}: {counted(one.errors, 'error')}", one.blocks()) for one in drawn[:_VIDEOS]]
    if len(drawn) > _VIDEOS:
        left = note(f"{len(drawn) - _VIDEOS} videos with fewer errors are not drawn.")
        sections.append(Section("Further videos", [left]))
    lead = "Annotations above predictions. Segments with a border are errors: missed or wrong at a temporal IoU of 0.5."
    return render_page("Timeline", sections, lead=f"{lead} Select a segment to play it.", local_videos=True)


class _Drawn:
    """The picture, player and errors of a video."""

    def __init__(
        self,
        name: str,
        truth: Sequence[Segment],
        predicted: Sequence[ScoredSegment],
        length: float | None,
        hues: Mapping[str, int],
        file: Path | None,
        folder: Path,
    ) -> None:
        self.name = name
        self._hues = hues
        self._truth = sorted((one for one in truth if one.video == name), key=lambda one: one.start)
        self._predicted = sorted((one for one in predicted if one.video == name), key=lambda one: one.start)
        ends = [one.stop for one in (*self._truth, *self._predicted)]
        self._length = max(length or 0.0, *ends, 1e-3) if ends else max(length or 0.0, 1e-3)
        right = dict(matches(self._truth, self._predicted, _OVERLAP))
        self._missed = [one for place, one in enumerate(self._truth) if place not in right.values()]
        self._wrong = [one for place, one in enumerate(self._predicted) if place not in right]
        self.errors = len(self._missed) + len(self._wrong)
        self._link = None if file is None else quote(os.path.relpath(file.resolve(), folder.resolve()))

    def blocks(self) -> list[Markup]:
        blocks = [] if self._link is None else [block("player", source=self._link, title=self.name)]
        blocks.append(self._picture())
        errors = [("missed", one) for one in self._missed] + [("wrong", one) for one in self._wrong]
        errors.sort(key=lambda pair: pair[1].start)
        items = [{"title": f"{kind}: {_described(one)}", **self._moment(one)} for kind, one in errors[:_ERRORS]]
        if items:
            blocks.append(block("moments", items=items))
        return blocks

    def _picture(self) -> Markup:
        bars = [self._bar(one, 0, one in self._missed) for one in self._truth]
        bars += [self._bar(one, _ROW + _GAP, one in self._wrong) for one in self._predicted]
        step = next((step for step in _TICKS if self._length / step <= _MOST_TICKS), self._length)
        ticks = [
            (f"{_LEFT + at * step * self._scale:.1f}", clock(at * step)) for at in range(1 + int(self._length // step))
        ]
        return block(
            "timeline",
            title=f"Annotations and predictions of {self.name}",
            width=_LEFT + _WIDTH,
            height=2 * _ROW + _GAP + 16,
            rows=[(_ROW - 7, "annotated"), (2 * _ROW + _GAP - 7, "predicted")],
            bars=bars,
            ticks=ticks,
        )

    @property
    def _scale(self) -> float:
        return _WIDTH / self._length

    def _bar(self, one: Segment, top: int, error: bool) -> dict[str, Any]:
        width = max(one.duration * self._scale, 1.0)
        hue = self._hues.get(one.label)
        return {
            "x": round(_LEFT + one.start * self._scale, 1),
            "y": top,
            "width": round(width, 1),
            "height": _ROW,
            "colour": "#999" if hue is None else f"hsl({hue} 60% 70%)",
            "error": error,
            "label": one.label if width > _LETTER * len(one.label) else "",
            "title": _described(one),
            **self._moment(one),
        }

    def _moment(self, one: Segment) -> dict[str, str | None]:
        link = None if self._link is None else f"{self._link}#t={one.start:.2f},{one.stop:.2f}"
        return {"link": link, "start": f"{one.start:.2f}"}


def _described(one: Segment) -> str:
    score = f", {one.score:.0%}" if isinstance(one, ScoredSegment) else ""
    return f"{one.label}, {clock(one.start)} to {clock(one.stop)}{score}"


def clock(seconds: float) -> str:
    """Return minutes and seconds: `12:03.5`."""
    minutes, rest = divmod(round(seconds * 10), 600)
    return f"{minutes}:{rest // 10:02}.{rest % 10}"
