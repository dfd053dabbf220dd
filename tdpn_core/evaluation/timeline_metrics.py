"""Metrics of labelled segments in time: detection mAP, segment F1, edit score, and accuracy over time.

All work on lists of segments; a class named `background` is a gap, in truth and prediction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tdpn_core import defaults
from tdpn_core.datasets.background import is_background
from tdpn_core.datasets.segments import ScoredSegment, Segment

Floats = npt.NDArray[np.float64]
S = TypeVar("S", bound=Segment)


@dataclass(frozen=True, kw_only=True)
class TimelineScores:
    """Metrics of predicted segments, all in [0, 1]."""

    average_precision: dict[str, dict[str, float]]
    """By temporal IoU threshold ("0.50"), then class: interpolated average precision."""

    mean_average_precision: dict[str, float]
    """By temporal IoU threshold: mean over the classes of the truth."""

    average_map: float
    """Mean of `mean_average_precision` over the thresholds."""

    f1: dict[str, float]
    """Segment F1 by overlap in percent: "10", "25", "50"."""

    edit: float
    """Edit score, the mean over the videos."""

    accuracy: float
    """Share of moments whose answer is right, gaps included."""

    labelled_accuracy: float | None
    """Share of the moments with a label whose answer is right; None without such moments."""


def score_timeline(
    truth: Iterable[Segment],
    predicted: Iterable[ScoredSegment],
    lengths: Mapping[str, float] | None = None,
    *,
    rate: float = defaults.TIMELINE_RATE,
) -> TimelineScores:
    """Score predicted segments.

    Args:
        truth: the annotations.
        predicted: the answers.
        lengths: seconds of each video; a video without one ends with its last segment.
        rate: moments per second at which accuracy is measured.
    """
    true, found = actions(truth), actions(predicted)
    precision = {
        f"{threshold:.2f}": average_precision(true, found, threshold) for threshold in defaults.TIMELINE_OVERLAPS
    }
    means = {threshold: _mean(list(by_class.values())) for threshold, by_class in precision.items()}
    accuracy, labelled = accuracy_in_time(true, found, lengths or {}, rate=rate)
    return TimelineScores(
        average_precision=precision,
        mean_average_precision=means,
        average_map=_mean(list(means.values())),
        f1={f"{percent}": segment_f1(true, found, percent / 100) for percent in defaults.TIMELINE_F1},
        edit=edit_score(true, found, lengths or {}),
        accuracy=accuracy,
        labelled_accuracy=labelled,
    )


def actions(segments: Iterable[S]) -> list[S]:
    """Return the segments that are not background."""
    return [segment for segment in segments if not is_background(segment.label)]


def temporal_iou(start: float, stop: float, starts: Floats, stops: Floats) -> Floats:
    """Return the intersection over union of one segment with several, (N,) in [0, 1]."""
    shared = np.clip(np.minimum(stop, stops) - np.maximum(start, starts), 0, None)
    union = (stop - start) + (stops - starts) - shared
    return np.asarray(shared / np.where(union > 0, union, np.inf), np.float64)


def average_precision(
    truth: Sequence[Segment], predicted: Sequence[ScoredSegment], threshold: float
) -> dict[str, float]:
    """Return the interpolated average precision of each class of the truth, as ActivityNet's evaluation defines it.

    Predictions are assigned in order of score, equal scores in order of appearance: each to the free true segment of
    its class and video with the highest temporal IoU, if that is at least `threshold`. Classes that occur only in the
    prediction have no recall and are left out.
    """
    true: dict[str, list[Segment]] = defaultdict(list)
    found: dict[str, list[ScoredSegment]] = defaultdict(list)
    for segment in truth:
        true[segment.label].append(segment)
    for answer in predicted:
        found[answer.label].append(answer)
    return {label: _precision_of(true[label], found.get(label, []), threshold) for label in sorted(true)}


def _precision_of(truth: Sequence[Segment], predicted: Sequence[ScoredSegment], threshold: float) -> float:
    if not predicted:
        return 0.0
    by_video: dict[str, list[Segment]] = defaultdict(list)
    for segment in truth:
        by_video[segment.video].append(segment)
    free = {video: np.ones(len(segments), bool) for video, segments in by_video.items()}
    bounds = {video: np.array([(one.start, one.stop) for one in segments]) for video, segments in by_video.items()}
    hits = []
    for answer in sorted(predicted, key=lambda one: -one.score):
        hits.append(answer.video in free and _takes(answer, bounds[answer.video], free[answer.video], threshold))
    right = np.cumsum(hits)
    return _interpolated(right / np.arange(1, len(hits) + 1), right / len(truth))


def _takes(answer: Segment, bounds: Floats, free: npt.NDArray[np.bool_], threshold: float) -> bool:
    """Assign an answer to the best free true segment of its video; return whether there is one."""
    overlaps = np.where(free, temporal_iou(answer.start, answer.stop, bounds[:, 0], bounds[:, 1]), -1.0)
    best = len(overlaps) - 1 - int(overlaps[::-1].argmax())  # of equal overlaps the later one, as in the original
    if overlaps[best] < threshold:
        return False
    free[best] = False
    return True


def _interpolated(precision: Floats, recall: Floats) -> float:
    """Return the area under the precision-recall curve after making precision fall monotonically (VOC 2010)."""
    heights = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * heights))


def segment_f1(truth: Sequence[Segment], predicted: Sequence[Segment], overlap: float) -> float:
    """Return the F1 score of segments at an IoU of `overlap` (Lea et al., CVPR 2017, "F1@k").

    Each predicted segment, in time, is right if the true segment of its class with the highest IoU reaches `overlap`
    and was not found before. Counts are summed over the videos.
    """
    true, found = _runs(truth), _runs(predicted)
    right = wrong = 0
    for video, answers in found.items():
        hits = len(matches(true.get(video, []), answers, overlap))
        right, wrong = right + hits, wrong + len(answers) - hits
    missed = sum(map(len, true.values())) - right
    total = 2 * right + wrong + missed
    return 2 * right / total if total else 1.0


def matches(truth: Sequence[Segment], answers: Sequence[Segment], overlap: float) -> list[tuple[int, int]]:
    """Return the places of the right answers of one video and of the true segments that they find.

    An answer is right if the true segment of its class with the highest IoU reaches `overlap` and no answer before has
    found it.
    """
    starts = np.array([one.start for one in truth])
    stops = np.array([one.stop for one in truth])
    found: dict[int, int] = {}
    for place, answer in enumerate(answers):
        same = np.array([one.label == answer.label for one in truth], bool)
        if not same.any():
            continue
        overlaps = temporal_iou(answer.start, answer.stop, starts, stops) * same
        best = int(overlaps.argmax())
        if overlaps[best] >= overlap:
            found.setdefault(best, place)  # a second answer for it is wrong
    return [(place, best) for best, place in found.items()]


def edit_score(truth: Sequence[Segment], predicted: Sequence[Segment], videos: Iterable[str] = ()) -> float:
    """Return the segmental edit score (Lea et al., ECCV 2016): 1 - Levenshtein distance / longer sequence.

    It compares the order of the classes in each video and is the mean over the videos. A video of `videos` with no
    segment in truth and prediction counts 1.
    """
    true, found = _runs(truth), _runs(predicted)
    names = sorted({*true, *found, *videos})
    return _mean([_similarity(_labels(true.get(name, [])), _labels(found.get(name, []))) for name in names])


def _similarity(truth: Sequence[str], answers: Sequence[str]) -> float:
    longer = max(len(truth), len(answers))
    return 1 - _levenshtein(truth, answers) / longer if longer else 1.0


def _levenshtein(one: Sequence[str], other: Sequence[str]) -> int:
    row = list(range(len(other) + 1))
    for place, item in enumerate(one, start=1):
        above, row = row, [place]
        for column, candidate in enumerate(other, start=1):
            row.append(min(above[column] + 1, row[-1] + 1, above[column - 1] + (item != candidate)))
    return row[-1]


def accuracy_in_time(
    truth: Sequence[Segment],
    predicted: Sequence[ScoredSegment],
    lengths: Mapping[str, float],
    *,
    rate: float = defaults.TIMELINE_RATE,
) -> tuple[float, float | None]:
    """Return the share of right moments, over all of them and over those with a true label.

    A moment's answer is the segment with the highest score there, or a gap. Where true segments overlap, any of their
    classes is right. Moments are the centres of equal steps of 1 / `rate` seconds.
    """
    true, found = _by_video(truth), _by_video(predicted)
    right = total = labelled_right = labelled = 0
    for video in sorted({*true, *found, *lengths}):
        both: list[Segment] = [*true.get(video, []), *found.get(video, [])]
        length = lengths.get(video, max((one.stop for one in both), default=0.0))
        times: Floats = np.asarray((np.arange(round(length * rate)) + 0.5) / rate, np.float64)
        answers = sorted(found.get(video, []), key=lambda one: one.score)
        chosen = np.full(len(times), -1)
        for index, answer in enumerate(answers):
            chosen[_within(times, answer)] = index
        correct, gap = np.zeros(len(times), bool), np.ones(len(times), bool)
        for segment in true.get(video, []):
            inside = _within(times, segment)
            same = np.array([answer.label == segment.label for answer in answers] + [False])
            correct |= inside & same[chosen]
            gap &= ~inside
        right += int(correct.sum() + (gap & (chosen == -1)).sum())
        total += len(times)
        labelled_right += int(correct.sum())
        labelled += int((~gap).sum())
    return (right / total if total else 0.0), (labelled_right / labelled if labelled else None)


def _within(times: Floats, segment: Segment) -> npt.NDArray[np.bool_]:
    return (segment.start <= times) & (times < segment.stop)


def _by_video(segments: Iterable[S]) -> dict[str, list[S]]:
    videos: dict[str, list[S]] = defaultdict(list)
    for segment in segments:
        videos[segment.video].append(segment)
    return videos


def _runs(segments: Iterable[Segment]) -> dict[str, list[Segment]]:
    """Return the segments of each video in time; neighbours of one class that touch are one, as in labels by frame."""
    videos: dict[str, list[Segment]] = defaultdict(list)
    for segment in sorted(segments, key=lambda one: (one.start, one.stop, one.label)):
        runs = videos[segment.video]
        last = next((place for place in range(len(runs) - 1, -1, -1) if runs[place].label == segment.label), None)
        if last is not None and segment.start <= runs[last].stop:
            known = runs[last]
            runs[last] = Segment(known.video, known.start, max(known.stop, segment.stop), known.label)
        else:
            runs.append(segment)
    return videos


def _labels(segments: Iterable[Segment]) -> list[str]:
    return [segment.label for segment in segments]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
