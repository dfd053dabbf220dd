"""Name what happens in videos that nobody prepared."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tdpn_core.checkpoint import load_checkpoint
from tdpn_core.errors import ClipError, TdpnError, UsageError
from tdpn_core.predict.clip import FileClip, encoding_of, open_clip
from tdpn_core.predict.inputs import Input, find_inputs
from tdpn_core.predict.live import latest
from tdpn_core.predict.ranking import Ranking, rank
from tdpn_core.predict.score import Scorer
from tdpn_core.predict.timeline import Answer, Scores, Stretch, cells, merge
from tdpn_core.predict.windows import Windowing, slide
from tdpn_core.runs import newest_checkpoint
from tdpn_core.runtime import Runtime
from tdpn_core.video.fetch import fetched
from tdpn_core.video.program import Program, find_ffmpeg
from tdpn_core.video.source import Source
from tdpn_core.video.stream import StreamedFrame, stream_address, stream_video

_ONE_VIEW = "1x1"  # of a window, unless more are asked for: windows overlap already


@dataclass(frozen=True)
class Segment:
    """A stretch of a clip, and what happens in it."""

    start: float
    end: float
    """In seconds from the clip's start."""

    heads: dict[str, Ranking]
    """For each head (class name, probability), the likeliest first."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The likeliest classes of one clip, or why there are none."""

    name: str
    """The clip, as it was named."""

    heads: dict[str, Ranking] = field(default_factory=dict)
    """For each head (class name, probability), the likeliest first; empty if the clip failed. Of a timeline, the mean
    of the whole."""

    segments: list[Segment] | None = None
    """Of a timeline, in the order of time; with an error, those before it."""

    seconds: float | None = None
    """Length of the clip, as far as it was read."""

    error: TdpnError | None = None


def _tell_nobody(name: str, segment: Segment) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """What is asked of clips, and which parts of them are looked at."""

    views: str | None = None
    """Test views; None: the checkpoint's own for a whole clip, 1x1 for each window of a timeline."""

    topk: int = 5
    """Classes to name."""

    timeline: Windowing | None = None
    """Answers in time instead of one for each clip. Live streams always get a timeline."""

    threshold: float = 0.0
    """Moments whose likeliest class has a lower probability are left out of timelines."""

    webcam: int | str | None = None
    """A camera, as one more clip."""

    fps: float | None = None
    """Frames a second of numbered pictures."""

    start: float | None = None
    stop: float | None = None
    """The part of a video to look at, in seconds."""

    def __post_init__(self) -> None:
        if self.topk < 1:
            raise UsageError(f"--topk must be at least 1, not {self.topk}")
        if not 0 <= self.threshold <= 1:
            raise UsageError(f"--threshold is a probability in [0, 1], not {self.threshold:g}")


DEFAULTS = PredictOptions()


def predict(
    words: Sequence[Path | str],
    *,
    checkpoint: Path | None = None,
    runtime: Runtime,
    options: PredictOptions = DEFAULTS,
    tell: Callable[[str, Segment], None] = _tell_nobody,
) -> Iterator[Prediction]:
    """The likeliest classes of each clip, one clip at a time, in order. A clip that fails does not stop the rest.

    Frames are made as those of the checkpoint's data were, and sampling, sizes and views are the checkpoint's own
    unless given, so that a clip is scored here as it is by an evaluation.

    Args:
        words: as `find_inputs` takes them.
        checkpoint: None is the newest best one under `runs/`.
        runtime: the device.
        options: what is asked.
        tell: called with the clip's name and each segment of a timeline as soon as it is known.

    Raises:
        CheckpointError: there is none, or it is damaged.
        UsageError: nothing is named, or what cannot be opened, or what this network cannot do.
    """
    inputs = find_inputs(words, webcam=options.webcam, fps=options.fps, start=options.start, stop=options.stop)
    loaded = load_checkpoint(checkpoint or newest_checkpoint())
    predictor = Predictor(Scorer(loaded.build(runtime.device), loaded.config), find_ffmpeg(), options, tell)
    for found in inputs:
        yield predictor.predict(found)


@dataclass(frozen=True)
class Predictor:
    """A network that is ready, and what is asked of it."""

    scorer: Scorer
    program: Program
    options: PredictOptions
    tell: Callable[[str, Segment], None]

    def predict(self, found: Input) -> Prediction:
        """What happens in one clip, or the error that says why that cannot be told."""
        if found.error is not None:
            return Prediction(name=found.name, error=found.error)
        kind = found.address.kind if found.address is not None else "file"
        if kind != "file" or self.options.timeline is not None:
            return self._timeline(found, kind == "live")
        try:
            return self._whole(found)
        except ClipError as error:
            return Prediction(name=found.name, error=error)

    def _whole(self, found: Input) -> Prediction:
        scorer = self._with_views(self.options.views)
        with self._opened(found) as clip:
            views = scorer.views(clip)
            seconds = clip.seconds
        (scores,) = scorer.scores([views], found.name)
        return Prediction(name=found.name, heads=self._ranked(scores), seconds=seconds)

    def _timeline(self, found: Input, live: bool) -> Prediction:
        scorer = self._with_views(self.options.views or _ONE_VIEW)
        windowing = self.options.timeline or Windowing()
        segments: list[Segment] = []
        seen = _Seen()
        error: TdpnError | None = None
        try:
            with self._streamed(found) as frames:
                windows = (latest if live else slide)(frames, windowing, scorer.config)
                answers = seen.watch(scorer.windows(windows, found.name, batch=not live))
                for stretch in self._stretches(answers, live):
                    segment = Segment(stretch.start, stretch.end, self._ranked(stretch.scores))
                    self.tell(found.name, segment)
                    segments.append(segment)
        except ClipError as failure:
            error = type(failure)(failure.what, where=found.name, hint=failure.hint)
        heads = self._ranked(seen.mean()) if seen.windows else {}
        return Prediction(name=found.name, heads=heads, segments=segments, seconds=seen.end, error=error)

    def _stretches(self, answers: Iterator[Answer], live: bool) -> Iterator[Stretch]:
        """Joined where neighbours agree; of a live stream each window at once, since nobody knows how it goes on."""
        threshold = self.options.threshold
        if not live:
            return merge(cells(answers), threshold)
        each = (Stretch(answer.window.start, answer.window.end, answer.scores) for answer in answers)
        return (stretch for stretch in each if stretch.certain(threshold))

    def _with_views(self, views: str | None) -> Scorer:
        config = self.scorer.config
        if views is None:
            return self.scorer
        return replace(self.scorer, config=replace(config, sampling=replace(config.sampling, views=views)))

    def _ranked(self, scores: Scores) -> dict[str, Ranking]:
        return rank(scores, self.scorer.config.data.classes, self.options.topk)

    @contextmanager
    def _opened(self, found: Input) -> Iterator[FileClip]:
        """All of a clip in a scratch file."""
        data = self.scorer.config.data
        with self._source(found) as source, open_clip(source, data, self.program, name=found.name) as clip:
            yield clip

    @contextmanager
    def _source(self, found: Input) -> Iterator[Source]:
        """What an input is on this disk."""
        if found.source is not None:
            yield found.source
            return
        assert found.address is not None
        with fetched(found.address) as path:
            yield Source(path, start=_or_nan(self.options.start), stop=_or_nan(self.options.stop))

    @contextmanager
    def _streamed(self, found: Input) -> Iterator[Iterator[StreamedFrame]]:
        """A clip frame by frame."""
        encoding = encoding_of(self.scorer.config.data)
        if encoding.modality == "flow":
            hint = "predict whole clips, or use a network over colours"
            raise UsageError("there is no timeline by a network over optical flow", where=found.name, hint=hint)
        if found.address is not None and found.address.kind != "file":
            yield stream_address(found.address, self.program, encoding, _or_nan(self.options.stop))
            return
        with self._source(found) as source:
            if source.kind == "video":
                yield stream_video(source, self.program, encoding)
                return
        with self._opened(found) as clip:
            yield clip.frames()


class _Seen:
    """What the windows of a clip say together."""

    def __init__(self) -> None:
        self.windows = 0
        self.end: float | None = None
        self._sums: Scores = {}

    def watch(self, answers: Iterator[Answer]) -> Iterator[Answer]:
        """Pass answers on and keep their sum."""
        for answer in answers:
            self.windows += 1
            self.end = answer.window.end
            for head, values in answer.scores.items():
                self._sums[head] = self._sums.get(head, 0) + values
            yield answer

    def mean(self) -> Scores:
        """Of all windows."""
        return {head: values / self.windows for head, values in self._sums.items()}


def _or_nan(seconds: float | None) -> float:
    return math.nan if seconds is None else seconds
