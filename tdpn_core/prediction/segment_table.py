"""The segments of predicted timelines as a file for annotation tools."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from tdpn_core import defaults
from tdpn_core.datasets.annotations.write import SegmentFile
from tdpn_core.datasets.segments import ScoredSegment
from tdpn_core.errors import ClipError, UsageError
from tdpn_core.output_paths import check_new
from tdpn_core.prediction.options import PredictOptions
from tdpn_core.prediction.results import Prediction, Segment
from tdpn_core.video.probe import probe


def check_segments(names: Iterable[str], options: PredictOptions) -> list[Path]:
    """Return the files that `write_segments` writes.

    Raises:
        UsageError: a file exists, cannot be written or has another suffix, there is one for several clips, or there are
            no timelines.
    """
    if options.segments is None:
        return []
    if options.timeline is None:
        raise UsageError("has the segments of a timeline", where="--segments", hint="add --timeline")
    files = SegmentFile(options.segments).files(list(dict.fromkeys(names)))
    check_new(files, option="--segments", force=options.force)
    return files


def write_segments(predictions: Iterable[Prediction], options: PredictOptions) -> None:
    """Write the segments of all clips without an error, with times from the start of the videos.

    Raises:
        TdpnError: a file cannot be written.
    """
    every = {one.name: one for one in predictions}
    whole = {name: one for name, one in every.items() if one.error is None and one.segments is not None}
    if options.segments is None or not whole:
        return
    network = next((one.network.checkpoint for one in whole.values() if one.network), "")
    rates = {name: _rate(name, options) for name in whole}
    segments = [found for one in whole.values() for found in _scored(one, options)]
    SegmentFile(options.segments).write(list(every), rates, segments, network)


def _scored(prediction: Prediction, options: PredictOptions) -> Iterator[ScoredSegment]:
    shift = options.start or 0.0
    for segment in prediction.segments or ():
        for label, score in likeliest(segment):
            yield ScoredSegment(prediction.name, segment.start + shift, segment.end + shift, label, score=score)


def _rate(name: str, options: PredictOptions) -> float:
    """Return frames per second of a video file; for other sources those that were asked for, or the default."""
    try:
        return float(probe(Path(name)).video.rates[0])
    except (ClipError, OSError, IndexError):
        return options.fps or defaults.FRAME_RATE


def likeliest(segment: Segment) -> list[tuple[str, float]]:
    """Return the likeliest class of each head with its probability; of verbs and nouns, their action alone."""
    heads = {"action": segment.heads["action"]} if "action" in segment.heads else segment.heads
    return [ranking[0] for ranking in heads.values()]
