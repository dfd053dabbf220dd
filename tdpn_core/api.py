"""Evaluation, comparison and prediction as one call each: the device is chosen and the reports are written.

The other functions of the public API need nothing around them and are in the module of their subject; see
`tdpn_core.__all__`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from tdpn_core import defaults
from tdpn_core.distributed.environment import find_place
from tdpn_core.errors import UsageError
from tdpn_core.evaluation import evaluate as evaluation
from tdpn_core.evaluation.evaluate import Comparison, Evaluation
from tdpn_core.evaluation.options import DEFAULTS, ScoreOptions
from tdpn_core.evaluation.report import write_comparison, write_report
from tdpn_core.evaluation.score_file import is_scores
from tdpn_core.evaluation.submission import check_submission_path, write_submission
from tdpn_core.progress import SILENT, Progress

if TYPE_CHECKING:
    from tdpn_core.distributed.runtime import Runtime
    from tdpn_core.prediction import Prediction, PredictOptions, Segment
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
    gpus: int | None = None,
    progress: Progress = SILENT,
) -> Evaluation:
    """Score a checkpoint, or the fusion of several, and write a report. What `tdpn eval` does.

    Args:
        files: checkpoints of ours or of another project, names of the zoo, run folders, or files of scores; several
            are fused. None named: the newest `best.pt` under `runs/`.
        options: data, split, views, and how checkpoints are scored.
        topk: each k of top-k accuracy; cut to the number of classes.
        weights: of each file in a fusion; None: equal ones, unless they are searched.
        search_on: where fusion weights are searched: `half` of the clips (the other is reported), a split, or one file
            of scores for each of `files`.
        annotations: EPIC-KITCHENS' lists of unseen participants and tail classes, if the data was packed without them.
        out: folder of the report; None: next to the first file.
        submission: zip of the EPIC-KITCHENS-100 challenge to write.
        levels: supervision levels of the submission: pre-training, training labels, training data; each 0 to 5.
        gpus: GPUs of this process, 0 for the CPU; None: one where there is one. Files of scores need none.
        progress: gets a bar of the clips and lines about the work.

    Returns:
        Metrics of each head, in [0, 1], and the scores: `probabilities[head]` is (clips, classes). `report` is the
        path of the report.

    Raises:
        CheckpointError, ScoresError: a file is damaged, or has other classes or clips than the data or the other files.
        UsageError: the split is empty, or the arguments contradict one another.
        DatasetError: a list of `annotations` is missing or faulty.
        ShardError, ClipError: a clip cannot be read, and missing ones are not allowed.
        DeviceError: `gpus` are not there.
        Stopped: SIGINT or SIGTERM came; what was scored is saved and used by the next call.
    """
    paths = evaluation.find_inputs(_listed(files), progress)
    if submission is not None:
        check_submission_path(submission)
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
    if _writes():
        write_report(result)
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
    """Score several models on the same clips, and test each against the first. What `tdpn eval A B` does.

    Args:
        files: two or more checkpoints, run folders or files of scores.
        options: data, split, views, and how checkpoints are scored.
        topk: each k of top-k accuracy; cut to the number of classes.
        annotations: see `evaluate`.
        out: folder of the comparison and of each model's report; None: next to the files.
        gpus: GPUs of this process, 0 for the CPU; None: one where there is one.
        progress: gets a bar of the clips and lines about the work.

    Returns:
        Each model's evaluation, and by head its difference from the first with a p-value. `report` is the path of the
        comparison.

    Raises:
        UsageError: fewer than two files.
        TdpnError: see `evaluate`; models of other classes, or scores of other clips, are not compared.
    """
    if len(files) < 2:
        raise UsageError(f"a comparison needs two or more models, not {len(files)}", hint="name more files")
    paths = evaluation.find_inputs(files, progress)
    with _device_for(paths, gpus, progress) as runtime:
        result = evaluation.compare_files(
            paths, runtime=runtime, options=options, topk=topk, annotations=annotations, out=out, progress=progress
        )
    if _writes():
        for one in result.evaluations:
            write_report(one)
        write_comparison(result)
    return result


def predict(
    clips: Path | str | Sequence[Path | str],
    *,
    checkpoint: Path | None = None,
    options: PredictOptions | None = None,
    gpus: int | None = None,
    may_fetch: Callable[[ZooEntry], bool] | None = None,
    on_segment: Callable[[str, Segment], None] | None = None,
    progress: Progress = SILENT,
) -> Iterator[Prediction]:
    """Name what happens in videos, one after the other. What `tdpn predict` does.

    A clip that fails does not stop the rest: its `error` says why.

    Args:
        clips: video files, folders, numbered pictures (`frames/%05d.jpg`), `http://` or `rtsp://` addresses.
        checkpoint: checkpoint of ours or of another project, file of `export`, run folder, or name of a run, of the zoo
            or of the hub; None: the newest `best.pt` under `runs/`, or without one the zoo's network for Kinetics-400.
        options: views, number of classes, timeline, overlay and the like.
        gpus: 1 for a GPU, 0 for the CPU; None: a GPU where there is one.
        may_fetch: asked before the zoo's network for Kinetics-400 is downloaded; None: it is not.
        on_segment: called with a clip's name and each segment of its timeline as soon as it is known.
        progress: gets a line about the network, and a bar of the seconds of each timeline.

    Yields:
        For each clip the likeliest classes of each head with probabilities in [0, 1], and with a timeline its segments
        in seconds.

    Raises:
        CheckpointError: there is none, or it is damaged.
        UsageError: no clip is named, one cannot be opened, or the network cannot do what is asked.
        ToolError: a package that an exported file needs is not installed.
        DeviceError: `gpus` are not there.
    """
    from tdpn_core.distributed.runtime import set_up
    from tdpn_core.prediction import PredictOptions
    from tdpn_core.prediction.predict import predict

    words = [clips] if isinstance(clips, str | Path) else clips
    return predict(
        words,
        checkpoint=checkpoint,
        runtime=set_up(gpus),
        options=options or PredictOptions(),
        tell=on_segment or (lambda name, segment: None),
        may_fetch=may_fetch or (lambda entry: False),
        progress=progress,
    )


def _listed(files: Path | Sequence[Path]) -> Sequence[Path]:
    return [files] if isinstance(files, Path) else files


def _device_for(paths: Sequence[Path], gpus: int | None, progress: Progress) -> AbstractContextManager[Runtime | None]:
    """The runtime of this process; None where all are files of scores, which are measured without torch."""
    if all(is_scores(path) for path in paths):
        return nullcontext()
    from tdpn_core.distributed.runtime import join_ranks

    return join_ranks(gpus, say=progress.say)


def _writes() -> bool:
    """Whether this process is the one of its command that writes reports."""
    place = find_place()
    return place is None or place.rank == 0
