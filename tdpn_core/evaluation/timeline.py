"""Score a timeline, predicted now or before, against annotated videos, and write a report."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tdpn_core.datasets.annotation_io import place_in
from tdpn_core.datasets.annotations.table import written
from tdpn_core.datasets.segments import ScoredSegment, Segment, read_segments
from tdpn_core.errors import ClipError, DatasetError
from tdpn_core.evaluation.timeline_metrics import TimelineScores, actions, score_timeline
from tdpn_core.evaluation.timeline_report import page, text
from tdpn_core.evaluation.video_names import VideoNames
from tdpn_core.files import make_folder, write_json, write_text
from tdpn_core.video.probe import probe
from tdpn_core.wording import agree, counted

_SUFFIXES = (".csv", ".json")  # of files that `predict --timeline` writes and prints
_SHOWN = 5


def holds_segments(path: Path) -> bool:
    """Return whether a file has the suffix of predicted segments, and not that of a network."""
    return path.suffix.lower() in _SUFFIXES


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Annotated videos."""

    path: Path
    segments: tuple[Segment, ...]
    """In seconds."""

    videos: tuple[str, ...]
    """All annotated videos, also those without a segment."""

    files: dict[str, Path]
    """File by video, of those on disk."""

    notes: tuple[str, ...]
    """Entries left out."""


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """Predicted segments of videos."""

    segments: list[ScoredSegment]
    lengths: dict[str, float] = field(default_factory=dict)
    """Seconds by video, where known."""

    failed: dict[str, str] = field(default_factory=dict)
    """Videos without a complete prediction, with the reason."""

    videos: list[str] | None = None
    """All predicted videos; None if those without a segment are not known."""


@dataclass(frozen=True, kw_only=True)
class TimelineEvaluation:
    """Predicted segments and their scores."""

    scores: TimelineScores
    truth: list[Segment]
    predicted: list[ScoredSegment]
    """Both with the videos' names as in the annotations."""

    lengths: dict[str, float]
    """Seconds by video, where known."""

    notes: list[str]
    report: Path
    """`report.md`; `report.html`, `results.json` and `segments.csv` are in the same folder."""


def read_truth(path: Path, folder: Path) -> Truth:
    """Read annotations, and find their videos in a folder by relative path or file name.

    Frame numbers are divided by the rate of their video.

    Raises:
        DatasetError: they cannot be read, have no action, or give times in frames of a video that is not in the folder.
    """
    found = read_segments(path)
    if not actions(found.segments):
        raise DatasetError("has no segment of an action", where=path, hint="annotate at least one action")
    files = _files(found.videos, folder)
    notes = (*map(str, found.odd), *found.notes)
    return Truth(
        path=path,
        segments=_in_seconds(found.segments, files, folder, path),
        videos=found.videos,
        files=files,
        notes=notes,
    )


def _files(videos: Sequence[str], folder: Path) -> dict[str, Path]:
    here = VideoNames(path.name for path in folder.iterdir() if path.is_file()) if folder.is_dir() else VideoNames(())
    files = {}
    for video in videos:
        if (folder / video).is_file():
            files[video] = folder / video
        elif (name := here.find(Path(video).name)) is not None:
            files[video] = folder / name
    return files


def _in_seconds(
    segments: Sequence[Segment], files: Mapping[str, Path], folder: Path, annotations: Path
) -> tuple[Segment, ...]:
    rates: dict[str, float] = {}
    for one in segments:
        if not one.in_frames or one.video in rates:
            continue
        given = f"{place_in(annotations, one.line)} gives times in frames"
        if one.video not in files:
            what = f"{given}, but its video {one.video} is not in {folder}"
            raise DatasetError(what, where=annotations, hint="name the folder of the videos with --videos")
        try:
            rates[one.video] = float(probe(files[one.video]).video.rates[0])
        except (ClipError, IndexError) as error:
            what = f"{given}, but the frame rate of {one.video} cannot be read"
            raise DatasetError(what, where=annotations, hint="export the annotations in seconds") from error
    return tuple(one.to_seconds(rates[one.video]) if one.in_frames else one for one in segments)


def videos_of(truth: Truth, folder: Path) -> tuple[list[Path], list[str]]:
    """Return the annotated videos that are on disk, and a note on those that are not.

    Raises:
        DatasetError: none is.
    """
    missing = [name for name in truth.videos if name not in truth.files]
    if not truth.files:
        what = f"none of the {len(truth.videos)} annotated videos is in {folder}, such as {truth.videos[0]}"
        raise DatasetError(what, where=truth.path, hint="name their folder with --videos")
    notes = []
    if missing:
        what = f"{counted(len(missing), 'annotated video')} {agree(len(missing), 'is', 'are')} missing and not scored"
        notes.append(f"{what}: {_some(missing)}")
    return list(dict.fromkeys(truth.files.values())), notes


def read_predicted(path: Path) -> Predicted:
    """Read the likeliest class of each segment from a file of `predict --timeline`.

    Raises:
        DatasetError: it is not such a file, or has several heads.
    """
    try:
        rows, found = (_from_json if path.suffix.lower() == ".json" else _from_csv)(path)
        segments = [
            ScoredSegment(name, float(start), float(stop), label, score=float(score))
            for name, start, stop, _, label, score in rows
            if name not in found.failed
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        hint = "give a file written by tdpn predict --timeline --csv, or printed with --json"
        raise DatasetError("is no timeline of tdpn predict", where=path, hint=hint) from error
    if len({row[3] for row in rows}) > 1:
        raise DatasetError("has classes of several heads", where=path, hint="a timeline is scored for one head")
    return replace(found, segments=segments)


Row = tuple[str, Any, Any, str, str, Any]
"""Clip, start, stop, head, class, probability."""


def _from_csv(path: Path) -> tuple[list[Row], Predicted]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = list(csv.DictReader(file))
    rows = [
        (row["clip"], row["start"], row["end"], row["head"], row["class"], row["probability"])
        for row in lines
        if row["rank"] == "1"
    ]
    return rows, Predicted(segments=[], failed={row["clip"]: row["error"] for row in lines if row["error"]})


def _from_json(path: Path) -> tuple[list[Row], Predicted]:
    clips = json.loads(path.read_text(encoding="utf-8-sig"))
    sound = [clip for clip in clips if not clip["error"]]
    rows = [
        (clip["clip"], one["start"], one["end"], head, ranking[0]["class"], ranking[0]["probability"])
        for clip in sound
        for one in clip["segments"]
        for head, ranking in one["heads"].items()
    ]
    return rows, Predicted(
        segments=[],
        lengths={clip["clip"]: float(clip["seconds"]) for clip in sound if clip["seconds"] is not None},
        failed={clip["clip"]: str(clip["error"]) for clip in clips if clip["error"]},
        videos=[clip["clip"] for clip in sound],
    )


def evaluate_segments(
    truth: Truth,
    predicted: Predicted,
    out: Path,
    *,
    classes: Sequence[str] | None = None,
    notes: Sequence[str] = (),
) -> TimelineEvaluation:
    """Score predicted segments and write `results.json`, `segments.csv`, `report.md` and `report.html` into `out`.

    Videos match by path, file name, or file name without suffix. A video that failed is not scored; an annotated
    video without a predicted segment counts as missed if it was predicted, or if the prediction does not say.

    Args:
        truth: the annotations.
        predicted: the answers.
        out: folder of the results.
        classes: those of the network; labels outside them are noted.
        notes: lines for the report.

    Raises:
        DatasetError: no annotated video was predicted, or no label is a class of the network.
    """
    matched = _Matched(truth, predicted)
    lacking = _lacking(matched.truth, classes, truth.path)
    lines = [*notes, *matched.notes, *truth.notes]
    if lacking:
        lines.append(f"labels that the network does not have count as missed: {_some(lacking)}")
    scores = score_timeline(matched.truth, matched.answers, matched.lengths)
    result = TimelineEvaluation(
        scores=scores,
        truth=matched.truth,
        predicted=matched.answers,
        lengths=matched.lengths,
        notes=lines,
        report=out / "report.md",
    )
    make_folder(out)
    write_json(out / "results.json", asdict(scores) | {"notes": lines, "videos": len(matched.scored)})
    write_text(out / "segments.csv", written(matched.answers))
    write_text(out / "report.md", text(scores, lines))
    write_text(
        out / "report.html",
        page(scores, actions(matched.truth), matched.answers, matched.lengths, lines, truth.files, out),
    )
    return result


def _lacking(truth: Iterable[Segment], classes: Sequence[str] | None, annotations: Path) -> list[str]:
    """Return the labels that are not among the classes.

    Raises:
        DatasetError: none is.
    """
    labels = {one.label for one in actions(truth)}
    lacking = sorted(labels - set(classes)) if classes is not None else []
    if lacking and len(lacking) == len(labels):
        what = f"no label is a class of the network: {_some(lacking)}"
        raise DatasetError(what, where=annotations, hint="give the annotations the names of the network's classes")
    return lacking


class _Matched:
    """Truth and prediction of the scored videos, with the videos' names as annotated.

    Raises:
        DatasetError: no annotated video was predicted, or a name is ambiguous.
    """

    def __init__(self, truth: Truth, predicted: Predicted) -> None:
        names = VideoNames(truth.videos)
        known = {one.video for one in predicted.segments} | {*(predicted.videos or ()), *predicted.failed}
        match = {name: names.find(name) for name in sorted(known)}
        if match and not any(match.values()):
            what = f"does not annotate a predicted video, such as {next(iter(match))}"
            raise DatasetError(what, where=truth.path, hint="name the videos in both files alike")
        failed = {annotated: reason for name, reason in predicted.failed.items() if (annotated := match[name])}
        asked = truth.videos if predicted.videos is None else [one for name in predicted.videos if (one := match[name])]
        self.scored = [name for name in dict.fromkeys(asked) if name not in failed]
        if not self.scored:
            what = "no annotated video was predicted"
            raise DatasetError(what, where=truth.path, hint=next(iter(failed.values()), "predict the annotated videos"))
        chosen = set(self.scored)
        self.truth = [one for one in truth.segments if one.video in chosen]
        self.answers = [
            replace(one, video=video)
            for one in actions(predicted.segments)
            if (video := match[one.video]) is not None and video in chosen
        ]
        self.lengths = {
            video: seconds
            for name, seconds in predicted.lengths.items()
            if (video := match.get(name)) is not None and video in chosen
        }
        self.notes = [f"not scored: {reason}" for reason in failed.values()]
        self._note(sorted(name for name, video in match.items() if video is None), "predicted", "not annotated")
        if predicted.videos is None:
            silent = sorted(chosen - {match[one.video] for one in predicted.segments})
            self._note(silent, "annotated", "without a predicted segment and missed")
        else:
            absent = sorted(set(truth.files) - chosen - set(failed))
            self._note(absent, "annotated", "not predicted and not scored")

    def _note(self, names: Sequence[str], kind: str, what: str) -> None:
        if names:
            number = counted(len(names), f"{kind} video")
            self.notes.append(f"{number} {agree(len(names), 'is', 'are')} {what}: {_some(names)}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
