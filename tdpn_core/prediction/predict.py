"""Predict classes of videos that were not prepared."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tdpn_core import defaults
from tdpn_core.datasets.background import is_background
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.errors import ClipError, ClipTooLong, TdpnError, UsageError
from tdpn_core.evaluation.multilabel import USUAL_THRESHOLD
from tdpn_core.fetch_limits import FetchLimits
from tdpn_core.prediction.models import Model, open_model
from tdpn_core.prediction.options import DEFAULTS, PredictOptions
from tdpn_core.prediction.outputs import check_distinct, check_not_read, drawn_files
from tdpn_core.prediction.proposals import propose
from tdpn_core.prediction.results import (
    NetworkInfo,
    Prediction,
    Ranking,
    Segment,
    chosen_classes,
    rank,
    with_none,
)
from tdpn_core.prediction.score import Scorer
from tdpn_core.prediction.segment_table import check_segments
from tdpn_core.prediction.timeline import Answer, Scores, Stretch, cells, lengthen, merge, smooth
from tdpn_core.prediction.windows import Windowing, latest, slide, whole_windows
from tdpn_core.progress import SILENT, Progress
from tdpn_core.shards.file_clip import LIMITS as CLIP_LIMITS
from tdpn_core.shards.file_clip import FileClip, encoding_of, open_clip
from tdpn_core.video.ffmpeg_binary import Program, find_ffmpeg
from tdpn_core.video.inputs import Input, find_inputs
from tdpn_core.video.source import Source
from tdpn_core.video.stream import StreamedFrame, stream_address, stream_video
from tdpn_core.video.subprocess_limits import LIMITS, Limits
from tdpn_core.video.url_download import fetched
from tdpn_core.video.url_kind import inspected
from tdpn_core.video.writer import video_seconds
from tdpn_core.weights.resolve import find_default, find_weights
from tdpn_core.weights.zoo import ZooEntry

_ONE_VIEW = "1x1"  # views per window by default: windows overlap already
_WEIGHTS: dict[bool | None, Literal["averaged", "raw"] | None] = {True: "averaged", False: "raw", None: None}


def _tell_nobody(name: str, segment: Segment) -> None:
    pass


def _fetch_nothing(entry: ZooEntry) -> bool:
    return False


def predict(
    words: Sequence[Path | str],
    *,
    checkpoint: Path | None = None,
    runtime: Runtime,
    options: PredictOptions = DEFAULTS,
    tell: Callable[[str, Segment], None] = _tell_nobody,
    may_fetch: Callable[[ZooEntry], bool] = _fetch_nothing,
    progress: Progress = SILENT,
) -> Iterator[Prediction]:
    """Predict the most likely classes of each clip, in order. A clip that fails does not stop the rest.

    Frames are prepared like the checkpoint's training data, and sampling, sizes and views are the checkpoint's own by
    default, so that scores are those of an evaluation.

    Args:
        words: inputs, see `find_inputs`.
        checkpoint: a checkpoint, exported file, run's folder, or name as in `find_weights`; None uses the newest best
            checkpoint under `runs/`, or without one the zoo's network for Kinetics-400.
        runtime: the device.
        options: see `PredictOptions`.
        tell: called with the clip's name and each segment of a timeline as soon as it is final.
        may_fetch: asked before the zoo's network is downloaded; by default it is not.
        progress: receives a line about the network, and a progress bar over the seconds of each timeline.

    Raises:
        CheckpointError: there is no checkpoint, or it is damaged.
        KeyboardInterrupt: Ctrl-C during a timeline, after the segments so far, including the last, were passed on.
        ToolError: the package that runs it is not installed.
        UsageError: there are no inputs, one cannot be opened, or the network does not support an option.
    """
    inputs = find_inputs(words, webcam=options.webcam, fps=options.fps, start=options.start, stop=options.stop)
    check_outputs(inputs, options)
    path = find_default(may_fetch, progress) if checkpoint is None else find_weights(checkpoint, progress)
    model = open_model(path, device=runtime.device, classes=options.classes, ema=options.ema, trusted=options.trusted)
    yield from predict_with(model, path, inputs, options=options, tell=tell, progress=progress)


def check_outputs(inputs: Sequence[Input], options: PredictOptions) -> None:
    """Check the files that `options` name for writing, before anything is opened.

    Raises:
        UsageError: an output file exists, is an input, or cannot be written, or one is for several clips or outputs.
    """
    files = check_segments([found.name for found in inputs], options)
    for option, target in (("--overlay", options.overlay), ("--explain", options.explain)):
        drawn = drawn_files(inputs, target, option=option, force=options.force)
        files += [path for path in drawn if path is not None]
    check_distinct(files)
    check_not_read(files, inputs)


def predict_with(
    model: Model,
    path: Path,
    inputs: Sequence[Input],
    *,
    options: PredictOptions = DEFAULTS,
    program: Program | None = None,
    tell: Callable[[str, Segment], None] = _tell_nobody,
    progress: Progress = SILENT,
) -> Iterator[Prediction]:
    """Predict clips with an open model; see `predict`.

    Args:
        model: the network.
        path: its file.
        inputs: the clips.
        options: see `PredictOptions`; those of the network are not used.
        program: ffmpeg; None: see `find_ffmpeg`.
        tell: called with the clip's name and each segment of a timeline as soon as it is final.
        progress: receives a line about the network, and a progress bar over the seconds of each timeline.
    """
    overlays = drawn_files(inputs, options.overlay, option="--overlay", force=options.force)
    explanations = drawn_files(inputs, options.explain, option="--explain", force=options.force)
    if options.explain is not None:
        _can_be_explained(model, path)  # fail before computing anything
    predictor = Predictor(Scorer(model, model.config), path, program or find_ffmpeg(), options, tell, progress)
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
    """Return an input whose address has the kind that its server reports, or an error."""
    if found.address is None:
        return found
    try:
        return replace(found, address=inspected(found.address, limits))
    except ClipError as error:
        return replace(found, error=error)


class _InterruptedError(ClipError):
    """Ctrl-C was pressed before the end of a clip."""


def _can_be_explained(model: Model, path: Path) -> None:
    """
    Raises:
        UsageError: the network cannot be inspected, or its input is not a picture.
    """
    if model.inside().config.modality == "flow":
        raise UsageError("optical flow cannot be drawn on", where=path, hint="use --explain with an RGB network")


@dataclass(frozen=True)
class Predictor:
    """A network ready for prediction, with options."""

    scorer: Scorer
    path: Path
    """File of the network."""

    program: Program
    options: PredictOptions
    tell: Callable[[str, Segment], None]
    progress: Progress = SILENT

    def network(self, found: Input) -> NetworkInfo:
        """Describe the network and the views used for an input."""
        data = self.scorer.config.data
        in_time = self._in_time(found)
        scorer = self._of_windows() if in_time else self._with_views(self.options.views)
        return NetworkInfo(
            checkpoint=str(self.path),
            dataset=data.dataset,
            data=data.path,
            epoch=self.scorer.model.epoch,
            weights=_WEIGHTS[self.scorer.model.averaged],
            views=scorer.config.sampling.views,
            threshold=self._of_segments() if in_time else {head: low for head, low in self._thresholds.items() if low},
            class_thresholds=self._named_thresholds(),
        )

    def predict(self, found: Input, overlay: Path | None = None, explanation: Path | None = None) -> Prediction:
        """Predict one clip, or return the error; optionally draw videos of it."""
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
        """Return whether an input gets a timeline: if requested, or for a stream."""
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
            hint = "add --timeline, or select a part with --start and --stop"
            raise ClipTooLong(error.what, where=found.name, hint=hint) from error
        (scores,) = scorer.scores([views], found.name)
        if self._class_thresholds is not None:
            return self._of_several(scores, found.name, seconds)
        return Prediction(name=found.name, heads=with_none(self._ranked(scores), self._thresholds), seconds=seconds)

    def _of_several(self, scores: Scores, name: str, seconds: float | None) -> Prediction:
        """Return the result of multi-label data: all classes that reach their threshold, at least `topk` classes."""
        assert self._class_thresholds is not None
        chosen = chosen_classes(scores, self.scorer.config.data.classes, self._class_thresholds)
        most = max(self.options.topk, *map(len, chosen.values()))
        names = {head: [name for name, _ in ranking] for head, ranking in chosen.items()}
        return Prediction(name=name, heads=self._ranked(scores, most), chosen=names, seconds=seconds)

    def _draw(self, prediction: Prediction, source: Source, overlay: Path | None, explanation: Path | None) -> None:
        if overlay is None and explanation is None:
            return
        from tdpn_core.prediction import (
            drawing,
            explain,  # imports Pillow and fonts
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
                for segment in self._segments(answers, live):
                    self.tell(found.name, segment)
                    segments.append(segment)
                seen.end_well(found.name)
        except ClipError as failure:
            error = type(failure)(failure.what, where=found.name, hint=failure.hint)
        heads = self._ranked(seen.mean()) if seen.windows else {}
        segments.sort(key=lambda segment: (segment.start, segment.end))
        return Prediction(name=found.name, heads=heads, segments=segments, seconds=seen.end, error=error)

    @contextmanager
    def _bar(self, found: Input) -> Iterator[None]:
        """Show a progress bar over the seconds of a file; streams have no known end."""
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

    def _segments(self, answers: Iterator[Answer], live: bool) -> Iterator[Segment]:
        """Yield the segments with an action; a live stream gives each window at once."""
        asked = self.options
        if not live and (asked.nms is not None or self._class_thresholds is not None):
            yield from self._proposed(answers, asked.nms)
            return
        if self._class_thresholds is not None:
            yield from self._of_each_class(answers)
            return
        if live:
            each = (Stretch(answer.window.start, answer.window.end, answer.scores) for answer in answers)
            stretches: Iterator[Stretch] = (stretch for stretch in each if stretch.certain(self._threshold()))
        else:
            stretches = lengthen(merge(cells(smooth(answers, asked.smooth)), self._threshold()), asked.min_length)
        for stretch in stretches:
            heads = self._ranked(stretch.scores)
            if not any(is_background(name) for ((name, _), *_) in heads.values()):
                yield Segment(stretch.start, stretch.end, heads)

    def _of_each_class(self, answers: Iterator[Answer]) -> Iterator[Segment]:
        """Yield a segment for each class of multi-label data that reaches its threshold in a window."""
        assert self._class_thresholds is not None
        for answer in answers:
            chosen = chosen_classes(answer.scores, self.scorer.config.data.classes, self._class_thresholds)
            for head, ranking in chosen.items():
                for one in ranking:
                    yield Segment(answer.window.start, answer.window.end, {head: [one]})

    def _proposed(self, answers: Iterator[Answer], overlap: float | None) -> Iterator[Segment]:
        """Yield the segments of each class by itself."""
        asked = self.options
        found = propose(
            cells(smooth(answers, asked.smooth)),
            threshold=self._threshold() if self._class_thresholds is None else self._class_thresholds,
            min_length=asked.min_length,
            overlap=overlap,
        )
        for one in found:
            name = self.scorer.config.data.classes[one.head][one.label]
            if not is_background(name):
                yield Segment(one.start, one.end, {one.head: [(name, one.score)]})

    @property
    def _thresholds(self) -> Mapping[str, float]:
        calibration = self.scorer.model.calibration
        return {} if calibration is None else calibration.threshold

    @property
    def _class_thresholds(self) -> Mapping[str, Sequence[float]] | None:
        """Return the thresholds of the classes by head in label order; None except for multi-label data."""
        data, calibration = self.scorer.config.data, self.scorer.model.calibration
        if not data.multilabel:
            return None
        known = calibration.class_thresholds if calibration is not None else {}
        usual = self.options.threshold if self.options.threshold is not None else USUAL_THRESHOLD
        by_head = {head: [usual] * len(names) for head, names in data.classes.items()}
        return by_head if self.options.threshold is not None else {**by_head, **known}

    def _named_thresholds(self) -> dict[str, dict[str, float]]:
        classes = self.scorer.config.data.classes
        return {
            head: dict(zip(classes[head], values, strict=True))
            for head, values in (self._class_thresholds or {}).items()
        }

    def _of_segments(self) -> dict[str, float]:
        if self._class_thresholds is not None:
            return {}
        least = self._threshold()
        return dict.fromkeys(self.scorer.config.data.classes, least) if least else {}

    def _threshold(self) -> float:
        """Return the least probability of a timeline's segments; a calibrated one is of one class at each moment."""
        if self.options.threshold is not None:
            return self.options.threshold
        if self.options.nms is not None:
            return defaults.THRESHOLD
        return next(iter(self._thresholds.values())) if len(self._thresholds) == 1 else defaults.THRESHOLD

    def _with_views(self, views: str | None) -> Scorer:
        config = self.scorer.config
        if views is None:
            return self.scorer
        return replace(self.scorer, config=replace(config, sampling=replace(config.sampling, views=views)))

    def _ranked(self, scores: Scores, topk: int | None = None) -> dict[str, Ranking]:
        return rank(scores, self.scorer.config.data.classes, topk or self.options.topk)

    @contextmanager
    def _local(self, found: Input) -> Iterator[Input]:
        """Yield an input with its source on disk, unless it is a stream."""
        if found.address is None or found.address.kind != "file":
            yield found
            return
        with fetched(found.address, self.options.fetch_limits, self.progress) as path:
            part = Source(path, start=_or_nan(self.options.start), stop=_or_nan(self.options.stop))
            yield Input(name=found.name, source=part)

    def _clip(self, source: Source, name: str) -> AbstractContextManager[FileClip]:
        """Open all of a clip in a scratch file."""
        asked, data = self.options, self.scorer.config.data
        limits = _limits(CLIP_LIMITS, asked.clip_timeout)
        return open_clip(source, data, self.program, name=name, limits=limits, max_pixels=asked.max_pixels)

    @contextmanager
    def _streamed(self, found: Input) -> Iterator[Iterator[StreamedFrame]]:
        """Open a clip frame by frame."""
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
    """Summary over the windows of a clip."""

    def __init__(self, progress: Progress = SILENT) -> None:
        self.windows = 0
        self.end: float | None = None
        self._progress = progress
        self._sums: Scores = {}
        self._stopped: ClipError | KeyboardInterrupt | None = None

    def watch(self, answers: Iterator[Answer]) -> Iterator[Answer]:
        """Yield answers and accumulate them. An error or Ctrl-C ends them after completing the current segment."""
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
            ClipError: the error that ended the answers early.
        """
        if isinstance(self._stopped, KeyboardInterrupt):
            raise _InterruptedError("interrupted", where=name)
        if self._stopped is not None:
            raise self._stopped

    def mean(self) -> Scores:
        """Mean over all windows."""
        return {head: values / self.windows for head, values in self._sums.items()}


def _limits(limits: Limits, clip_timeout: float | None) -> Limits:
    """Return the limits of a file's decoder with the requested time."""
    if clip_timeout is None:
        return limits
    return replace(limits, seconds=min(limits.seconds, clip_timeout), cpu_seconds=clip_timeout)


def _or_nan(seconds: float | None) -> float:
    return math.nan if seconds is None else seconds
