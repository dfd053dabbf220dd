"""What a command does in one call each: the device is chosen, the parts are called, the reports are written.

The other functions of the public API are in their own modules; see
`tdpn_core.__all__`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tdpn_core import defaults
from tdpn_core.config.families import FAMILIES, find_family
from tdpn_core.config.overrides import NO_OVERRIDES, TrainOverrides
from tdpn_core.distributed.environment import launch_environment
from tdpn_core.errors import ShardError, TdpnError, UsageError
from tdpn_core.evaluation import evaluate as evaluation
from tdpn_core.evaluation.evaluate import Comparison, Evaluation
from tdpn_core.evaluation.options import DEFAULTS, ScoreOptions
from tdpn_core.evaluation.report import write_comparison, write_report
from tdpn_core.evaluation.score_file import is_scores
from tdpn_core.evaluation.submission import check_submission_path, write_submission
from tdpn_core.files import write_text
from tdpn_core.progress import SILENT, Progress
from tdpn_core.ray_cluster import RAY
from tdpn_core.shards.manifest import twin_notes

if TYPE_CHECKING:
    from tdpn_core.archive import ArchiveResult
    from tdpn_core.bench.compute import Bench
    from tdpn_core.config.schema import RunConfig
    from tdpn_core.distributed.runtime import Runtime
    from tdpn_core.evaluation.timeline import TimelineEvaluation
    from tdpn_core.features.extract import FeatureOptions
    from tdpn_core.prediction import Prediction, PredictOptions, Segment
    from tdpn_core.prep.inspect import Prepared, Summary
    from tdpn_core.shards.verify import Fault
    from tdpn_core.weights.zoo import ZooEntry


def evaluate(
    files: Path | Sequence[Path] = (),
    *,
    options: ScoreOptions = DEFAULTS,
    topk: tuple[int, ...] = defaults.TOP_K,
    weights: Sequence[float] | None = None,
    search_on: str | Sequence[Path] | None = None,
    annotations: Path | None = None,
    out: Path | None = None,
    submission: Path | None = None,
    levels: tuple[int, ...] = defaults.SUPERVISION_LEVELS,
    calibrate: float | None = None,
    gpus: int | None = None,
    progress: Progress = SILENT,
) -> Evaluation:
    """Score a checkpoint, or the fusion of several, and write a report. Implements `tdpn eval`.

    Args:
        files: checkpoints of ours or of another project, names of the zoo, run folders, or score files; several
            are fused. None named: the newest `best.pt` under `runs/`.
        options: data, split, views, and how checkpoints are scored.
        topk: values of k for top-k accuracy, each limited to the number of classes.
        weights: weight of each file in a fusion; default: equal, unless `search_on` is given.
        search_on: where to search for fusion weights: `half` of the clips (the other half is reported), a split, or one
            score file for each of `files`.
        annotations: EPIC-KITCHENS' lists of unseen participants and tail classes, if the data was packed without them.
        out: folder of the report; default: next to the first file.
        submission: zip file to write for the EPIC-KITCHENS-100 challenge.
        levels: supervision levels of the submission: pre-training, training labels, training data; each 0 to 5.
        calibrate: store the temperature and the threshold of confidence that keeps this share of the right answers in
            the checkpoint; `predict` then says "none of these" below the threshold.
        gpus: number of GPUs of this process, 0 for the CPU; None uses one if available. Score files need none.
        progress: receives messages and a progress bar over the clips.

    Returns:
        Metrics by head, in [0, 1], and scores: `probabilities[head]` is (clips, classes). `report` is the path of the
        report.

    Raises:
        CheckpointError, ScoresError: a file is damaged, or has other classes or clips than the data or the other files.
        UsageError: the split is empty, or the arguments contradict each other.
        DatasetError: a list in `annotations` is missing or has an error.
        ShardError, ClipError: a clip cannot be read, and missing ones are not allowed.
        DeviceError: `gpus` exceeds the available GPUs.
        Stopped: received SIGINT or SIGTERM; the scores so far are saved and used by the next call.
    """
    named = _listed(files)
    evaluation.check_call(len(named), topk=topk, annotations=annotations, weights=weights, search_on=search_on)
    if submission is not None:
        check_submission_path(submission)
    paths = evaluation.find_inputs(named, progress)
    if calibrate is not None:
        from tdpn_core.evaluation import calibrate as calibration  # torch, which score files do not need

        calibration.check_calibration(paths, options, calibrate)
    with _device_for(paths, gpus, progress) as runtime:
        result = evaluation.evaluate_files(
            paths,
            runtime=runtime,
            options=options,
            topk=topk,
            weights=weights,
            search_on=search_on,
            annotations=annotations,
            out=out,
            progress=progress,
        )
    if calibrate is not None:
        result = replace(result, calibrated=calibration.fit(result.scores, calibrate))
    if _writes():
        write_report(result)
        if calibrate is not None:
            calibration.store(paths[0], result.scores, result.calibrated)
        _refresh_cards(paths, progress)
        if submission is not None:
            write_submission(submission, result.scores, levels)
    return result


def compare(
    files: Sequence[Path],
    *,
    options: ScoreOptions = DEFAULTS,
    topk: tuple[int, ...] = defaults.TOP_K,
    annotations: Path | None = None,
    out: Path | None = None,
    gpus: int | None = None,
    progress: Progress = SILENT,
) -> Comparison:
    """Score several models on the same clips, and test each against the first. Implements `tdpn eval A B`.

    Args:
        files: two or more checkpoints, run folders or score files.
        options: data, split, views, and how checkpoints are scored.
        topk: values of k for top-k accuracy, each limited to the number of classes.
        annotations: see `evaluate`.
        out: folder of the comparison and of each model's report; default: next to the files.
        gpus: number of GPUs of this process, 0 for the CPU; None uses one if available.
        progress: receives messages and a progress bar over the clips.

    Returns:
        Each model's evaluation, and by head its difference from the first with a p-value. `report` is the path of the
        comparison.

    Raises:
        UsageError: fewer than two files.
        TdpnError: see `evaluate`; also if models have other classes, or scores other clips.
    """
    if len(files) < 2:
        raise UsageError(f"a comparison needs two or more models, not {len(files)}", hint="give more files")
    evaluation.check_call(len(files), topk=topk, annotations=annotations)
    paths = evaluation.find_inputs(files, progress)
    with _device_for(paths, gpus, progress) as runtime:
        result = evaluation.compare_files(
            paths, runtime=runtime, options=options, topk=topk, annotations=annotations, out=out, progress=progress
        )
    if _writes():
        for one in result.evaluations:
            write_report(one)
        write_comparison(result)
        _refresh_cards(paths, progress)
    return result


def evaluate_timeline(
    file: Path,
    annotations: Path,
    *,
    videos: Path | None = None,
    options: PredictOptions | None = None,
    out: Path | None = None,
    gpus: int | None = None,
    progress: Progress = SILENT,
) -> TimelineEvaluation:
    """Score predicted segments of annotated long videos. Implements `tdpn eval --timeline`.

    Args:
        file: a checkpoint, exported file, run folder or name, which predicts the videos first, or a CSV or JSON file of
            `tdpn predict --timeline`.
        annotations: segments in any format that `prep` reads.
        videos: folder of the videos; None: that of the annotations.
        options: windows, smoothing, threshold and others of the prediction.
        out: folder of the results; None: `runs/timeline-` and the name of `file`.
        gpus: 1 for a GPU, 0 for the CPU; None uses a GPU if available.
        progress: receives notes, and a progress bar over the seconds of each video.

    Returns:
        The segments and their scores: mAP, segment F1, edit score and accuracy, all in [0, 1].

    Raises:
        CheckpointError: the checkpoint is missing or damaged.
        DatasetError: the annotations or predicted segments cannot be read or do not belong together.
        UsageError: the network has several heads.
    """
    from tdpn_core.distributed.runtime import set_up
    from tdpn_core.evaluation import timeline
    from tdpn_core.prediction import PredictOptions
    from tdpn_core.prediction.scored_segments import predict_segments
    from tdpn_core.prediction.windows import Windowing
    from tdpn_core.weights.resolve import find_weights

    folder = videos or annotations.parent
    target = out or Path("runs") / f"timeline-{file.resolve().parent.name if file.stem == 'best' else file.stem}"
    truth = timeline.read_truth(annotations, folder)
    if timeline.holds_segments(file):
        return timeline.evaluate_segments(truth, timeline.read_predicted(file), target)
    paths, missing = timeline.videos_of(truth, folder)
    options = options or PredictOptions()
    wanted = replace(options, timeline=options.timeline or Windowing())
    classes, found = predict_segments(
        paths, checkpoint=find_weights(file, progress), runtime=set_up(gpus), options=wanted, progress=progress
    )
    return timeline.evaluate_segments(truth, found, target, classes=classes, notes=missing)


def predict(
    clips: Path | str | Sequence[Path | str],
    *,
    checkpoint: Path | None = None,
    options: PredictOptions | None = None,
    csv: Path | None = None,
    gpus: int | None = None,
    may_fetch: Callable[[ZooEntry], bool] | None = None,
    on_segment: Callable[[str, Segment], None] | None = None,
    progress: Progress = SILENT,
) -> Generator[Prediction, None, None]:
    """Predict the classes of videos, one after another. Implements `tdpn predict`.

    A clip that fails does not stop the rest; its `error` has the reason.

    Args:
        clips: video files, folders, numbered pictures (`frames/%05d.jpg`), `http://` or `rtsp://` addresses. Without
            `checkpoint`, the first one may be the network instead.
        checkpoint: checkpoint of ours or of another project, file of `export`, run folder, or name of a run, of the zoo
            or of the hub; None: the newest `best.pt` under `runs/`, or without one the zoo's network for Kinetics-400.
        options: views, number of classes, timeline, overlay and others.
        csv: file to write with a row for each class of each clip or segment; also if Ctrl-C ends a live stream.
        gpus: 1 for a GPU, 0 for the CPU; None uses a GPU if available.
        may_fetch: asked before the zoo's network for Kinetics-400 is downloaded; None: it is not.
        on_segment: called with a clip's name and each segment of its timeline as soon as it is final.
        progress: receives a line about the network, and a progress bar over the seconds of each timeline.

    Yields:
        For each clip, the most likely classes of each head with probabilities in [0, 1], and for a timeline its
        segments in seconds.

    Raises:
        CheckpointError: there is no checkpoint, or it is damaged.
        UsageError: there are no clips, one cannot be opened, or the network does not support an option.
        ToolError: a package that an exported file needs is not installed.
        DeviceError: `gpus` exceeds the available GPUs.
    """
    from tdpn_core.distributed.runtime import set_up
    from tdpn_core.output_paths import check_new
    from tdpn_core.prediction import PredictOptions
    from tdpn_core.prediction.outputs import check_distinct
    from tdpn_core.prediction.predict import predict
    from tdpn_core.weights.resolve import split_weights

    options = options or PredictOptions()
    if csv is not None:
        check_new([csv], option="--csv", force=options.force)
        check_distinct(filter(None, [csv, options.segments]))
    words = [clips] if isinstance(clips, str | Path) else list(clips)
    if checkpoint is None:
        checkpoint, words = split_weights(words, progress)
    found = predict(
        words,
        checkpoint=checkpoint,
        runtime=set_up(gpus),
        options=options,
        tell=on_segment or (lambda name, segment: None),
        may_fetch=may_fetch or (lambda entry: False),
        progress=progress,
    )
    return _tabulated(found, csv, options)


def predict_archive(
    clips: Path | str | Sequence[Path | str],
    archive: Path,
    *,
    checkpoint: Path | None = None,
    options: PredictOptions | None = None,
    gpus: int | None = None,
    executor: str = defaults.EXECUTOR,
    ray_address: str | None = None,
    join_only: bool = False,
    progress: Progress = SILENT,
) -> ArchiveResult | None:
    """Predict many videos, with results on disk. Implements `tdpn predict --archive`.

    In a process that a launcher started, the share of this process. A repeated call continues.

    Args:
        clips: video files and folders.
        archive: the table, `.csv` or `.parquet`, or a folder for `predictions.csv`. Next to it are
            `predictions-failed.csv` with the reason for each clip that failed, and `predictions-parts` with the results
            so far.
        checkpoint: see `predict`.
        options: views, number of classes, timeline and others, without files to write for each clip.
        gpus: 1 for a GPU, 0 for the CPU; None uses a GPU if available. On a Ray cluster, GPUs of each task.
        executor: `local`, or `ray` for a Ray cluster, whose nodes must see the same files.
        ray_address: address of the cluster; default: from RAY_ADDRESS, or a cluster on this machine.
        join_only: write the tables of the results so far, after several processes.
        progress: receives notes and a progress bar over the clips.

    Returns:
        The tables; None in one of several processes, after which a call with `join_only` writes them.

    Raises:
        CheckpointError: there is no checkpoint, or it is damaged.
        DatasetError: there is no result.
        Stopped: received SIGTERM or Ctrl-C; the results of complete clips are saved.
        ToolError: pyarrow or Ray is required and not installed, or there is no cluster.
        UsageError: there are no clips, the files cannot be written, or the network does not support an option.
    """
    from tdpn_core.archive import ArchiveFiles, run_archive
    from tdpn_core.prediction import PredictOptions
    from tdpn_core.prediction.archive import TABLE, PredictionWork
    from tdpn_core.video.inputs import find_inputs

    asked = options or PredictOptions()
    words = [clips] if isinstance(clips, str | Path) else list(clips)
    files = ArchiveFiles.at(archive, TABLE)
    files.check()  # before the network is downloaded
    work = PredictionWork(_network(checkpoint, progress), asked)
    work.check()
    return run_archive(
        work.absolute() if executor == RAY else work,
        find_inputs(words, fps=asked.fps, start=asked.start, stop=asked.stop),
        files,
        command="tdpn predict",
        gpus=gpus,
        executor=executor,
        ray_address=ray_address,
        join_only=join_only,
        progress=progress,
    )


def extract_archive(
    clips: Path | str | Sequence[Path | str],
    archive: Path,
    *,
    checkpoint: Path | None = None,
    options: FeatureOptions | None = None,
    gpus: int | None = None,
    executor: str = defaults.EXECUTOR,
    ray_address: str | None = None,
    join_only: bool = False,
    progress: Progress = SILENT,
) -> ArchiveResult | None:
    """Extract features of many videos that were not prepared. Implements `tdpn features --archive`.

    Each video is decoded once. With a stride, memory does not grow with its length. In a process that a launcher
    started, the share of this process. A repeated call continues.

    Args:
        clips: video files and folders.
        archive: the table, `.parquet` or `.csv`, or a folder for `features.parquet`; see `predict_archive`.
        checkpoint: see `extract_features`.
        options: views or stride, and size and frames for another project's network.
        gpus: see `predict_archive`.
        executor: see `predict_archive`.
        ray_address: see `predict_archive`.
        join_only: see `predict_archive`.
        progress: receives notes and a progress bar over the clips.

    Returns:
        See `predict_archive`. The table has the columns `id`, `start`, `end` in seconds, and `feature`, the mean over
        the time steps of a row.

    Raises:
        CheckpointError: there is no checkpoint, or it is damaged or of an unknown project.
        DatasetError: there is no result.
        Stopped: received SIGTERM or Ctrl-C; the features of complete videos are saved.
        ToolError: pyarrow or Ray is required and not installed, or there is no cluster.
        UsageError: there are no clips, the files cannot be written, or options contradict the checkpoint.
    """
    from tdpn_core.archive import ArchiveFiles, run_archive
    from tdpn_core.features.archive import TABLE, FeatureWork
    from tdpn_core.features.extract import FeatureOptions
    from tdpn_core.video.inputs import find_inputs

    words = [clips] if isinstance(clips, str | Path) else list(clips)
    files = ArchiveFiles.at(archive, TABLE)
    files.check()  # before the network is downloaded
    work = FeatureWork(_network(checkpoint, progress), options or FeatureOptions())
    work.check()
    return run_archive(
        work.absolute() if executor == RAY else work,
        find_inputs(words),
        files,
        command="tdpn features",
        gpus=gpus,
        executor=executor,
        ray_address=ray_address,
        join_only=join_only,
        progress=progress,
    )


def _network(checkpoint: Path | None, progress: Progress) -> Path:
    from tdpn_core.runs import newest_checkpoint
    from tdpn_core.weights.resolve import find_weights

    return newest_checkpoint() if checkpoint is None else find_weights(checkpoint, progress)


def _tabulated(
    found: Iterator[Prediction], csv: Path | None, options: PredictOptions
) -> Generator[Prediction, None, None]:
    """`found`, of which tables are written at the end, and where the caller stops before it."""
    from tdpn_core.prediction.results import to_csv
    from tdpn_core.prediction.segment_table import write_segments

    def write() -> None:
        if csv is not None:
            write_text(csv, to_csv(predictions))
        write_segments(predictions, options)

    predictions = []
    try:
        for prediction in found:
            predictions.append(prediction)
            yield prediction
    except (KeyboardInterrupt, GeneratorExit):  # how a live stream ends
        write()
        raise
    write()


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a prepared data set holds, finished or not."""

    prepared: Prepared
    """The folder: its manifest, whether it is finished, and who writes to it."""

    summary: Summary
    """Clips, hours, frames and classes by split."""

    faults: list[Fault]
    """Damaged files; only of the sizes and heads of shards, unless every byte was read."""

    verified: bool
    """Whether every byte was read."""

    @property
    def notes(self) -> list[str]:
        """What is known about clips that show the same."""
        return twin_notes(self.prepared.manifest)

    def error(self) -> ShardError | None:
        """The error that damage is; None where there is none."""
        folder, again = self.prepared.folder, "remove those files and run the same tdpn prep command again"
        if self.faults:
            what = f"{len(self.faults)} of {len(self.prepared.manifest.shards)} shards are bad"
            return ShardError(what, where=folder, hint=f"{again}: only their clips are done again")
        if self.prepared.damaged:
            return ShardError(f"{len(self.prepared.damaged)} records are damaged", where=folder, hint=again)
        return None


def inspect_data(
    folder: Path | None = None,
    *,
    verify: bool = False,
    progress: Progress = SILENT,
) -> Inspection:
    """Inspect a prepared data set, finished or not, without changing it. What `tdpn data` does.

    Args:
        folder: of the data set; None: the only one under `data/`.
        verify: read every byte and compare all checksums.
        progress: gets a bar of the shards that are verified.

    Returns:
        Counts, hours and classes by split, skipped clips with the reasons, and damage.

    Raises:
        UsageError: no such folder, or none or several under `data/`.
        ShardError: neither manifest nor ledger can be read.
    """
    from tdpn_core.prep.inspect import find_folder, open_folder, summarise
    from tdpn_core.shards.verify import find_faults

    prepared = open_folder(find_folder(folder))
    summary = summarise(prepared)
    faults = summary.faults
    if verify:
        sound = [shard for shard in prepared.manifest.shards if shard.file in set(summary.sound)]
        faults = faults + find_faults(prepared.folder, sound, prepared.manifest.classes_digest, progress=progress)
    return Inspection(prepared=prepared, summary=summary, faults=faults, verified=verify)


def draw_clips(inspection: Inspection, path: Path, *, as_trained: bool = False) -> list[str]:
    """Draw a contact sheet of a prepared data set's clips into a PNG file. What `tdpn data --preview` does.

    Args:
        inspection: of the data set; clips of its undamaged shards are drawn.
        path: file to write.
        as_trained: draw training clips as the default recipe augments them, instead of clips as they are stored.

    Returns:
        The ids of the clips on the sheet.

    Raises:
        ShardError: there is no clip that can be drawn.
    """
    from tdpn_core.prep.inspect import training_sheet
    from tdpn_core.prep.inspect.contact_sheet import contact_sheet

    prepared, summary = inspection.prepared, inspection.summary
    if as_trained:
        return training_sheet(prepared, summary, _default_recipe(prepared.folder), path)
    return contact_sheet(prepared, summary, path)


def fetch_weights(names: Sequence[str], *, progress: Progress = SILENT) -> dict[str, Path]:
    """Download published checkpoints, unless they are on this machine. What `tdpn models fetch` does.

    Args:
        names: of checkpoints as `list_weights` has them; all are looked up before the first is downloaded.
        progress: gets a bar of each download.

    Returns:
        The file of each, checked, by the name of the checkpoint.

    Raises:
        UsageError: no name is given, or one is unknown; the message has the nearest.
        CheckpointError: a file must be downloaded by hand, is not what was published, or the network is off.
        TdpnError: a download fails.
    """
    from tdpn_core.weights.zoo import find_entry, obtain

    if not names:
        raise UsageError("no checkpoint is named", hint="`tdpn models --weights` lists them")
    entries = [find_entry(name) for name in names]
    return {entry.name: obtain(entry, progress) for entry in entries}


def bench_models(
    what: Literal["infer", "train"],
    models: Sequence[str] | None = (defaults.MODEL,),
    *,
    batch: int = defaults.BENCH_BATCH,
    rounds: int = defaults.BENCH_ROUNDS,
    compiled: bool = False,
    profile: Path | None = None,
    overrides: TrainOverrides = NO_OVERRIDES,
    gpus: int | None = None,
    progress: Progress = SILENT,
) -> list[Bench]:
    """Time networks relative to their plain form. What `tdpn bench infer` and `tdpn bench train` do.

    Args:
        what: `infer` for the forward pass, `train` for forward, backward and optimiser.
        models: model families; None: all of this package.
        batch: clips per step.
        rounds: measurements of each form; the median counts.
        compiled: compile the optimised form with torch.compile.
        profile: file for a trace of one step of a single model.
        overrides: changes to the settings of the networks; without a `size`, it is 224 pixels.
        gpus: 1 for a GPU, 0 for the CPU; None: a GPU where there is one.
        progress: gets a bar of the models.

    Returns:
        For each model seconds of both forms, their ratio, and the largest difference of their outputs.

    Raises:
        UsageError: no such model, or `profile` with several.
        ConfigError: a setting that the network does not have.
        DeviceError: `gpus` exceeds the available GPUs.
    """
    names = list(FAMILIES) if models is None else [find_family(name).name for name in models]
    if profile is not None and len(names) > 1:
        raise UsageError("a trace is of one model", where="--profile", hint="choose one with --model")
    from tdpn_core.bench.compute import bench_inference, bench_training
    from tdpn_core.bench.device import measure_peak
    from tdpn_core.bench.subject import choose_subject
    from tdpn_core.distributed.runtime import set_up

    if overrides.size is None:
        overrides = replace(overrides, size=defaults.BENCH_SIZE)
    runtime = set_up(gpus)
    measure = bench_inference if what == "infer" else bench_training
    peak = measure_peak(runtime)
    results = []
    progress.begin(f"bench {what}", len(names))
    try:
        for name in names:
            subject = choose_subject(batch=batch, runtime=runtime, overrides=replace(overrides, model=name))
            results.append(measure(subject, rounds=rounds, compiled=compiled, profile=profile, peak=peak))
            progress.advance(shown=subject.name)
    finally:
        progress.end()
    return results


def _default_recipe(folder: Path) -> RunConfig:
    """The settings of a run on this data and this machine, where the user asks for none."""
    import torch

    from tdpn_core.distributed.runtime import Runtime
    from tdpn_core.training.launch import plan

    return plan(folder, runtime=Runtime(torch.device("cuda" if torch.cuda.is_available() else "cpu")))


def _listed(files: Path | Sequence[Path]) -> Sequence[Path]:
    return [files] if isinstance(files, Path) else files


def _device_for(paths: Sequence[Path], gpus: int | None, progress: Progress) -> AbstractContextManager[Runtime | None]:
    """Yield the runtime of this process; None if all are score files, which are measured without torch."""
    if all(is_scores(path) for path in paths):
        return nullcontext()
    from tdpn_core.distributed.runtime import join_ranks

    return join_ranks(gpus, say=progress.say)


def _refresh_cards(paths: Sequence[Path], progress: Progress) -> None:
    """Add the accuracy to the model cards of evaluated checkpoints; a failure does not end the evaluation."""
    for path in paths:
        if is_scores(path):
            continue
        from tdpn_core.model_card import refresh_card  # torch, which score files do not need

        try:
            refresh_card(path)
        except TdpnError as error:
            progress.say(f"warning: the model card is not updated: {error}")


def _writes() -> bool:
    """Return whether this process writes reports."""
    place = launch_environment()
    return place is None or place.rank == 0
