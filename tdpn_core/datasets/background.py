"""The class that means that nothing happens, and clips of it from between the annotated segments of a video."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tdpn_core import defaults
from tdpn_core.datasets.spelling import tidy
from tdpn_core.errors import UsageError
from tdpn_core.rng import derive

Span = tuple[float, float]
"""Start and end in seconds."""

_STEP = 1000  # times are in whole milliseconds, as in the ids of clips


def is_background(label: str) -> bool:
    """Return whether a class means that nothing happens: a gap in a timeline, not an answer."""
    return tidy(label).casefold() == defaults.BACKGROUND


@dataclass(frozen=True)
class BackgroundOptions:
    """How the gaps between annotated segments become clips of the class `defaults.BACKGROUND`."""

    share: float = defaults.BACKGROUND_SHARE
    """Share of each split's clips that are background, in (0, 1); fewer if the gaps are too short."""

    min_length: float = defaults.BACKGROUND_LENGTH
    """Shortest background clip in seconds."""

    margin: float = defaults.BACKGROUND_MARGIN
    """Seconds between a background clip and the nearest annotated segment."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UsageError(f"must be between 0 and 1, not {self.share:g}", where="--background-share")
        limits = (("--background-length", self.min_length, 0.001), ("--background-margin", self.margin, 0.0))
        for option, value, least in limits:
            if not least <= value < math.inf:
                what = f"must be at least {least:g} seconds, not {value:g}"
                raise UsageError(what, where=option)

    def __str__(self) -> str:
        times = f"at least {self.min_length:g} s long, {self.margin:g} s from segments"
        return f"{self.share:g} of the clips, {times}"


def gaps(spans: Sequence[Span], end: float, margin: float) -> list[Span]:
    """Return the parts of a video of `end` seconds that are at least `margin` seconds away from all `spans`."""
    found = []
    free = 0.0
    for start, stop in sorted(spans):
        if start - margin > free:
            found.append((free, min(start - margin, end)))
        free = max(free, stop + margin)
    if end > free:
        found.append((free, end))
    return [(start, stop) for start, stop in found if stop > start]


def pieces(gap: Span, lengths: Sequence[float], min_length: float, seed: Sequence[int]) -> Iterator[Span]:
    """Cut a gap into parts as long as annotated segments, so that the length does not show the class.

    Args:
        gap: start and end in seconds.
        lengths: lengths of annotated segments to draw from; not empty.
        min_length: shortest part in seconds.
        seed: seed and path of the draw.
    """
    rng = derive(*seed)
    start, end = math.ceil(gap[0] * _STEP) / _STEP, math.floor(gap[1] * _STEP) / _STEP
    while _ms(end) - _ms(start) >= _ms(min_length):
        length = max(min_length, lengths[int(rng.integers(len(lengths)))])
        stop = min(end, (_ms(start) + _ms(length)) / _STEP)
        yield start, stop
        start = stop


def _ms(seconds: float) -> int:
    return math.ceil(round(seconds * _STEP, 3))


def choose(
    videos: Mapping[str, tuple[Sequence[Span], float]],
    counts: Mapping[str, int],
    split_of: Mapping[str, str],
    options: BackgroundOptions,
    seed: int,
) -> list[tuple[str, Span]]:
    """Return background clips as (video, span), in the order of their videos and times.

    Args:
        videos: by name, all annotated spans, and the length in seconds.
        counts: number of clips of actions by split.
        split_of: split of each video.
        options: share, shortest length and margin.
        seed: the same seed and videos give the same clips.
    """
    lengths = sorted(stop - start for spans, _ in videos.values() for start, stop in spans if stop > start)
    candidates: dict[str, list[tuple[int, str, Span]]] = {}
    for video in sorted(videos) if lengths else ():
        spans, end = videos[video]
        for number, gap in enumerate(gaps(spans, end, options.margin)):
            for piece in pieces(gap, lengths, options.min_length, (seed, _number(video), number)):
                order = _number(f"{seed} {video} {piece[0]:.3f}")
                candidates.setdefault(split_of[video], []).append((order, video, piece))
    chosen = []
    for split, possible in candidates.items():
        wanted = round(counts.get(split, 0) * options.share / (1 - options.share))
        chosen += sorted(possible)[:wanted]
    return sorted((video, piece) for _, video, piece in chosen)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:6], "big")
