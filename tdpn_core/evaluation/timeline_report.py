"""The report of a scored timeline: text, and a page with a picture per video, truth above prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from tdpn_core.datasets.segments import ScoredSegment, Segment
from tdpn_core.evaluation.timeline_metrics import TimelineScores
from tdpn_core.html_report.components import Cell, note, table
from tdpn_core.html_report.page import Section, render_page

_WIDTH = 900
_ROW = 22


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
) -> str:
    """Return the report as HTML; each predicted segment links to its video at that time, if `files` has it."""
    rows: list[list[Cell]] = [[name, value] for name, value in headline(scores)]
    sections = [Section("Scores", [table("Metrics", ["metric", "value"], rows), *map(note, notes)])]
    names = sorted({one.video for one in truth} | {one.video for one in predicted} | set(lengths))
    hues = {label: number * 137 % 360 for number, label in enumerate(sorted({one.label for one in truth}))}
    for name in names:
        own = [one for one in truth if one.video == name]
        answers = [one for one in predicted if one.video == name]
        length = lengths.get(name, max((one.stop for one in [*own, *answers]), default=0.0))
        sections.append(Section(name, [_picture(own, answers, length, hues, _address(files.get(name)))]))
    return render_page("Timeline", sections, lead="Truth above prediction; select a prediction to play it.")


def _address(path: Path | None) -> str | None:
    return None if path is None else quote(str(path.resolve()))


def _picture(
    truth: Sequence[Segment],
    predicted: Sequence[ScoredSegment],
    length: float,
    hues: Mapping[str, int],
    address: str | None,
) -> Markup:
    scale = _WIDTH / max(length, 1e-9)
    bars = [_bar(one, 0, scale, hues, one.label) for one in truth]
    for one in predicted:
        bar = _bar(one, _ROW + 4, scale, hues, f"{one.label} {one.score:.0%}")
        link = Markup('<a href="file://{}#t={:.2f},{:.2f}" target="_blank">{}</a>')
        bars.append(bar if address is None else link.format(address, one.start, one.stop, bar))
    box = Markup('<svg viewBox="0 0 {} {}" role="img" width="100%">{}</svg>')
    return box.format(_WIDTH, 2 * _ROW + 4, Markup("").join(bars))


def _bar(segment: Segment, top: int, scale: float, hues: Mapping[str, int], label: str) -> Markup:
    x, width = segment.start * scale, segment.duration * scale
    hue = hues.get(segment.label)
    colour = "#999" if hue is None else f"hsl({hue} 60% 65%)"
    shape = Markup(
        '<g><title>{} {:.1f}-{:.1f} s</title><rect x="{:.1f}" y="{}" width="{:.1f}" height="{}" fill="{}"/>'
        '<text x="{:.1f}" y="{}" font-size="11">{}</text></g>'
    )
    shown = label if width > 7 * len(label) else ""
    return shape.format(label, segment.start, segment.stop, x, top, width, _ROW, colour, x + 2, top + 15, shown)
