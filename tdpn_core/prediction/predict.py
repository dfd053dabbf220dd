"""Name what happens in videos that nobody prepared."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tdpn_core import defaults
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.errors import ClipError, ClipTooLong, TdpnError, UsageError
from tdpn_core.fetch_limits import FOR_VIDEOS, FetchLimits
from tdpn_core.prediction.file_clip import LIMITS as CLIP_LIMITS
from tdpn_core.prediction.file_clip import FileClip, encoding_of, open_clip
from tdpn_core.prediction.inputs import Input, find_inputs
from tdpn_core.prediction.models import Model, open_model
from tdpn_core.prediction.results import NetworkInfo, Prediction, Ranking, Segment, drawn_files, rank
from tdpn_core.prediction.score import Scorer
from tdpn_core.prediction.timeline import Answer, Scores, Stretch, cells, lengthen, merge, smooth
from tdpn_core.prediction.windows import Windowing, latest, slide, whole_windows
from tdpn_core.progress import SILENT, Progress
from tdpn_core.runs import newest_checkpoint
from tdpn_core.video.ffmpeg_binary import Program, find_ffmpeg
from tdpn_core.video.source import Source
from tdpn_core.video.stream import StreamedFrame, stream_address, stream_video
from tdpn_core.video.subprocess_limits import LIMITS, Limits
from tdpn_core.video.url_download import fetched
from tdpn_core.video.url_kind import inspected
from tdpn_core.video.writer import video_seconds
from tdpn_core.weights.resolve import find_weights

_ONE_VIEW = "1x1"  # of a window, unless more are asked for: windows overlap already
_WEIGHTS: dict[bool | None, Literal["averaged", "raw"] | None] = {True: "averaged", False: "raw", None: None}


def _tell_nobody(name: str, segment: Segment) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """What is asked of clips, and which parts of them are looked at."""

    views: str | None = None
    """Test views; None: the checkpoint's own for a whole clip, 1x1 for each window of a timeline."""

    classes: Path | None = None
    """File with the class names of another project's checkpoint that contains none."""

    ema: bool | None = None
    """Averaged or raw weights of another project's checkpoint; None: those that the project evaluates."""

    trusted: bool = False
    """The user vouches for a .pt2 file, which can make torch run code."""

    topk: int = defaults.PREDICTED_CLASSES
    """Classes to name."""

    timeline: Windowing | None = None
    """Answers in time instead of one for each clip. Live streams always get a timeline."""

    threshold: float = defaults.THRESHOLD
    """Moments whose likeliest class has a lower probability are left out of timelines."""

    smooth: float | None = None
    """Seconds over which the probabilities of a timeline's windows are averaged; None: the length of a window; 0: they
    are not. Live streams are never smoothed."""

    min_length: float = defaults.MIN_LENGTH
    """Seconds of a timeline's shortest segment: shorter ones go to the neighbour that fits better."""

    webcam: int | str | None = None
    """A camera, as one more clip."""

    fps: float | None = None
    """Frames a second of numbered pictures."""

    start: float | None = None
    stop: float | None = None
    """The part of a video to look at, in seconds."""

    overlay: Path | None = None
    """MP4 file, or folder for several clips, of the videos with what was named drawn in."""

    explain: Path | None = None
    """The same for what the network looked at."""

    force: bool = False
    """Replace files that are there."""

    fetch_limits: FetchLimits = FOR_VIDEOS
    """How long servers and live streams may take."""

    clip_timeout: float | None = None
    """Seconds of processor time for the decoder of a file; None: grows with length and picture size."""

    max_pixels: int | None = None
    """A larger picture is refused; None: the limit of the network's data."""

    def __post_init__(self) -> None:
        if self.topk < 1:
            raise UsageError(f"--topk must be at least 1, not {self.topk}")
        if not 0 <= self.threshold <= 1:
            raise UsageError(f"--threshold is a probability in [0, 1], not {self.threshold:g}")
        for name, value in (("--smooth", self.smooth), ("--min-length", self.min_length)):
            if value is not None and not 0 <= value < math.inf:
                raise UsageError(f"{name} must be 0 or a positive number of seconds, not {value:g}")
        if self.clip_timeout is not None and not 0 < self.clip_timeout < math.inf:
            raise UsageError(f"--clip-timeout must be a positive number of seconds, not {self.clip_timeout:g}")


DEFAULTS = PredictOptions()


def predict(
    words: Sequence[Path | str],
    *,
    checkpoint: Path | None = None,
    runtime: Runtime,
    options: PredictOptions = DEFAULTS,
    tell: Callable[[str, Segment], None] = _tell_nobody,
    progress: Progress = SILENT,
) -> Iterator[Prediction]:
    """The likeliest classes of each clip, one clip at a time, in order. A clip that fails does not stop the rest.

    Frames are made as those of the checkpoint's data were, and sampling, sizes and views are the checkpoint's own
    unless given, so that a clip is scored here as it is by an evaluation.

    Args:
        words: as `find_inputs` takes them.
        checkpoint: or an exported file, a run's folder or a run's name; None is the newest best checkpoint under
            `runs/`.
        runtime: the device.
        options: what is asked.
        tell: called with the clip's name and each segment of a timeline as soon as it is known.
        progress: gets a line about the network that answers, and a bar of the seconds of each timeline.

    Raises:
        CheckpointError: there is none, or it is damaged.
        KeyboardInterrupt: Ctrl-C within a timeline, once its segments so far, the last one included, were given.
        ToolError: the package that runs it is not installed.
        UsageError: nothing is named, or what cannot be opened, or what this network cannot do.
    """
    inputs = find_inputs(words, webcam=options.webcam, fps=options.fps, start=options.start, stop=options.stop)
    overlays = drawn_files(inputs, options.overlay, option="--overlay", force=options.force)
    explanations = drawn_files(inputs, options.explain, option="--explain", force=options.force)
    path = find_weights(checkpoint) if checkpoint is not None else newest_checkpoint()
    model = open_model(path, device=runtime.device, classes=options.classes, ema=options.ema, trusted=options.trusted)
    if options.explain is not None:
        _can_be_explained(model, path)  # before anything is computed
    predictor = Predictor(Scorer(model, model.config), path, find_ffmpeg(), options, tell, progress)
    said: NetworkInfo | None = None
    for named, overlay, explanation in zip(inputs, overlays, explanations, strict=True):
        found = _inspected(named, options.fetch_limits)
        network = predictor.network(found)
        if network != said:
            progress.say(f"network {network}")
            said = network
        if found.address is not None and found.address.kind == "live" and found.error is None:
            end = "its end" if options.stop is None else f"second {options.stop:g}"
            progress.say(f"{found.name}: a live stream, followed to {end}; Ctrl-C ends it earlier")
        prediction = predictor.predict(found, overlay, explanation)
        yield prediction
        if isinstance(prediction.error, _InterruptedError):
            raise KeyboardInterrupt


def _inspected(found: Input, limits: FetchLimits) -> Input:
    """An input whose address has the kind that its server shows, or the error that says why it shows none."""
    if found.address is None:
        return found
    try:
        return replace(found, address=inspected(found.address, limits))
    except ClipError as error:
        return replace(found, error=error)


class _InterruptedError(ClipError):
    """Ctrl-C came before the end of a clip."""


def _can_be_explained(model: Model, path: Path) -> None:
    """
    Raises:
        UsageError: the network cannot be looked into, or what it sees is no picture.
    """
    if model.inside().config.modality == "flow":
        raise UsageError("optical flow is no picture to draw on", where=path, hint="--explain a network over colours")


@dataclass(frozen=True)
class Predictor:
    """A network that is ready, and what is asked of it."""

    scorer: Scorer
    path: Path
    """The file of the network."""

    program: Program
    options: PredictOptions
    tell: Callable[[str, Segment], None]
    progress: Progress = SILENT

    def network(self, found: Input) -> NetworkInfo:
        """Which network answers for an input, with which views."""
        data = self.scorer.config.data
        scorer = self._of_windows() if self._in_time(found) else self._with_views(self.options.views)
        return NetworkInfo(
            checkpoint=str(self.path),
            dataset=data.dataset,
            data=data.path,
            epoch=self.scorer.model.epoch,
            weights=_WEIGHTS[self.scorer.model.averaged],
            views=scorer.config.sampling.views,
        )

    def predict(self, found: Input, overlay: Path | None = None, explanation: Path | None = None) -> Prediction:
        """What happens in one clip, or the error that says why that cannot be told; and videos of it."""
        prediction = Prediction(name=found.name, error=found.error)
        try:
            if found.error is None:
                with self._local(found) as local:
                    prediction = self._named(local)
                    if local.source is not None and prediction.error is None:
                        self._draw(prediction, local.source, overlay, explanation)
        except ClipError as error:
            prediction = replace(prediction, error=type(error)(error.what, where=found.name, hint=error.hint))
        return replace(prediction, network=self.network(found) if found.error is None else None)

    def _in_time(self, found: Input) -> bool:
        """Whether an input gets a timeline: asked for, or of a stream."""
        streamed = found.address is not None and found.address.kind != "file"
        return streamed or self.options.timeline is not None

    def _of_windows(self) -> Scorer:
        return self._with_views(self.options.views or _ONE_VIEW)

    def _named(self, found: Input) -> Prediction:
        if self._in_time(found):
            return self._timeline(found, found.address is not None and found.address.kind == "live")
        assert found.source is not None
        scorer = self._with_views(self.options.views)
        try:
            with self._clip(found.source, found.name) as clip:
                views = scorer.views(clip)
                seconds = clip.seconds
        except ClipTooLong as error:
            hint = "add --timeline, or take a part of it with --start and --stop"
            raise ClipTooLong(error.what, where=found.name, hint=hint) from error
        (scores,) = scorer.scores([views], found.name)
        return Prediction(name=found.name, heads=self._ranked(scores), seconds=seconds)

    def _draw(self, prediction: Prediction, source: Source, overlay: Path | None, explanation: Path | None) -> None:
        if overlay is None and explanation is None:
            return
        from tdpn_core.prediction import (
            drawing,
            explain,  # Pillow and fonts, which others need not wait for
        )

        if overlay is not None and source.kind == "video":
            drawing.overlay_video(prediction, source, overlay, self.program)
        elif overlay is not None:
            with self._clip(source, prediction.name) as clip:
                drawing.overlay_clip(prediction, clip, overlay, self.program)
        if explanation is not None:
            windowing = self.options.timeline or whole_windows(self.scorer.config, prediction.seconds)
            with self._streamed(Input(name=prediction.name, source=source)) as frames:
                explain.explain(frames, windowing, self.scorer, explanation, self.program, name=prediction.name)

    def _timeline(self, found: Input, live: bool) -> Prediction:
        scorer = self._of_windows()
        windowing = self.options.timeline or Windowing()
        segments: list[Segment] = []
        seen = _Seen(self.progress)
        error: TdpnError | None = None
        try:
            with self._streamed(found) as frames, self._bar(found):
                windows = (latest if live else slide)(frames, windowing, scorer.config)
                answers = seen.watch(scorer.windows(windows, found.name, batch=not live))
                for stretch in self._stretches(answers, live):
                    segment = Segment(stretch.start, stretch.end, self._ranked(stretch.scores))
                    self.tell(found.name, segment)
                    segments.append(segment)
                seen.end_well(found.name)
        except ClipError as failure:
            error = type(failure)(failure.what, where=found.name, hint=failure.hint)
        heads = self._ranked(seen.mean()) if seen.windows else {}
        return Prediction(name=found.name, heads=heads, segments=segments, seconds=seen.end, error=error)

    @contextmanager
    def _bar(self, found: Input) -> Iterator[None]:
        """A bar over the seconds of a file; a stream has no known end, and none of a listener that ignores it."""
        source = found.source
        if self.progress is SILENT or source is None or source.kind != "video":
            yield
            return
        start = 0.0 if math.isnan(source.start) else source.start
        length = video_seconds(source.path) if math.isnan(source.stop) else source.stop
        if length is None or length <= start:
            yield
            return
        self.progress.begin(f"{Path(found.name).name}, seconds", math.ceil(length - start))
        try:
            yield
        finally:
            self.progress.end()

    def _stretches(self, answers: Iterator[Answer], live: bool) -> Iterator[Stretch]:
        """Joined where neighbours agree; of a live stream each window at once, since nobody knows how it goes on."""
        threshold = self.options.threshold
        if not live:
            return lengthen(merge(cells(smooth(answers, self.options.smooth)), threshold), self.options.min_length)
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
    def _local(self, found: Input) -> Iterator[Input]:
        """An input with its source on this disk, unless it is a stream."""
        if found.address is None or found.address.kind != "file":
            yield found
            return
        with fetched(found.address, self.options.fetch_limits, self.progress) as path:
            part = Source(path, start=_or_nan(self.options.start), stop=_or_nan(self.options.stop))
            yield Input(name=found.name, source=part)

    def _clip(self, source: Source, name: str) -> AbstractContextManager[FileClip]:
        """All of a clip in a scratch file."""
        asked, data = self.options, self.scorer.config.data
        limits = _limits(CLIP_LIMITS, asked.clip_timeout)
        return open_clip(source, data, self.program, name=name, limits=limits, max_pixels=asked.max_pixels)

    @contextmanager
    def _streamed(self, found: Input) -> Iterator[Iterator[StreamedFrame]]:
        """A clip frame by frame."""
        asked = self.options
        encoding = encoding_of(self.scorer.config.data, asked.max_pixels)
        if found.source is None:
            assert found.address is not None
            stop = _or_nan(asked.stop)
            yield stream_address(found.address, self.program, encoding, stop, asked.fetch_limits)
        elif found.source.kind == "video":
            yield stream_video(found.source, self.program, encoding, _limits(LIMITS, asked.clip_timeout))
        else:
            with self._clip(found.source, found.name) as clip:
                yield clip.frames()


class _Seen:
    """What the windows of a clip say together."""

    def __init__(self, progress: Progress = SILENT) -> None:
        self.windows = 0
        self.end: float | None = None
        self._progress = progress
        self._sums: Scores = {}
        self._stopped: ClipError | KeyboardInterrupt | None = None

    def watch(self, answers: Iterator[Answer]) -> Iterator[Answer]:
        """Pass answers on and keep their sum. An error and Ctrl-C end them: what grows of them is complete then."""
        try:
            for answer in answers:
                self._add(answer)
                yield answer
        except (ClipError, KeyboardInterrupt) as stopped:
            self._stopped = stopped

    def _add(self, answer: Answer) -> None:
        self.windows += 1
        self._progress.advance(int(answer.window.end) - int(self.end or 0))
        self.end = answer.window.end
        for head, values in answer.scores.items():
            self._sums[head] = self._sums.get(head, 0) + values

    def end_well(self, name: str) -> None:
        """
        Raises:
            ClipError: what ended the answers early.
        """
        if isinstance(self._stopped, KeyboardInterrupt):
            raise _InterruptedError("interrupted", where=name)
        if self._stopped is not None:
            raise self._stopped

    def mean(self) -> Scores:
        """Of all windows."""
        return {head: values / self.windows for head, values in self._sums.items()}


def _limits(limits: Limits, clip_timeout: float | None) -> Limits:
    """Of a file's decoder, with the time that was asked for."""
    if clip_timeout is None:
        return limits
    return replace(limits, seconds=min(limits.seconds, clip_timeout), cpu_seconds=clip_timeout)


def _or_nan(seconds: float | None) -> float:
    return math.nan if seconds is None else seconds
