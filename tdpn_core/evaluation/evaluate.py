"""Evaluate checkpoints and score files: score, match, fuse and measure."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tdpn_core import defaults
from tdpn_core.config.schema import RunConfig, from_dict
from tdpn_core.errors import UsageError
from tdpn_core.evaluation.epic import EpicRow, has_subset_lists, is_epic, measure_epic
from tdpn_core.evaluation.fusion import align, check_weights, fuse, search_weights, split_in_half
from tdpn_core.evaluation.metrics import HeadFit, Metrics, measure
from tdpn_core.evaluation.multilabel import USUAL_THRESHOLD, MultilabelMetrics, ThresholdsFit, measure_labels
from tdpn_core.evaluation.options import DEFAULTS, SCORES, ScoreOptions, default_folder
from tdpn_core.evaluation.paired import Paired, compare_scores
from tdpn_core.evaluation.score_file import Scores, is_scores, read_scores, write_scores
from tdpn_core.files import make_folder
from tdpn_core.labels import Labels, is_multilabel, known
from tdpn_core.progress import SILENT, Progress
from tdpn_core.runs import BEST, newest_checkpoint
from tdpn_core.weights.zoo import ZOO, results_folder

if TYPE_CHECKING:
    from tdpn_core.distributed.runtime import Runtime


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Several models on the same clips."""

    evaluations: list[Evaluation]
    """Evaluation of each, on all clips that it scored."""

    paired: list[dict[str, Paired]]
    """For each head, every model after the first compared with the first, on the clips scored by all."""

    folder: Path
    """Folder of the comparison's report; each evaluation has its own folder."""

    @property
    def report(self) -> Path:
        """Markdown file that `tdpn_core.compare` writes."""
        return self.folder / "comparison.md"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Metrics of scores."""

    scores: Scores
    folder: Path
    """Folder of the report."""

    seconds: float
    heads: dict[str, Metrics]
    """Metrics by head, over its labelled clips; heads without labels are absent, and so are those of multi-label data.
    """

    multilabel: dict[str, MultilabelMetrics] = dataclasses.field(default_factory=dict)
    """Metrics by head of multi-label data, over its labelled clips."""

    epic: list[EpicRow] = dataclasses.field(default_factory=list)
    """Rows of EPIC-KITCHENS' own table."""

    calibrated: Mapping[str, HeadFit | ThresholdsFit] = dataclasses.field(default_factory=dict)
    """Temperature and threshold by head that were stored in the checkpoint, if asked for; or for multi-label data the
    thresholds of the classes."""

    @property
    def is_measured(self) -> bool:
        """Return whether any clip has a label, so that there are metrics."""
        return bool(self.heads or self.multilabel)

    def thresholds(self, head: str) -> list[float]:
        """Return the probability from which a clip has a class of multi-label data, in label order."""
        return thresholds_of(self.scores, head)

    @cached_property
    def probabilities(self) -> dict[str, npt.NDArray[np.float64]]:
        """Probabilities (clips, classes) by head, in the order of `ids`."""
        return self.scores.probabilities()

    @property
    def report(self) -> Path:
        """Markdown report that `tdpn_core.evaluate` writes; `report.html` is in the same folder."""
        return self.folder / "report.md"

    @property
    def config(self) -> RunConfig:
        """Configuration of the run that produced the (first) checkpoint."""
        return from_dict(RunConfig, self.scores.origin.settings)

    @property
    def ids(self) -> list[str]:
        """Names of the scored clips."""
        return self.scores.ids

    @property
    def labels(self) -> dict[str, Labels]:
        """Labels (clips,) by head; -1 for unlabelled. For multi-label data (clips, classes), see `tdpn_core.labels`."""
        return self.scores.labels

    @property
    def clips(self) -> int:
        """Number of scored clips."""
        return len(self.scores.ids)

    @property
    def split(self) -> str:
        """Name of the split."""
        return self.scores.origin.split

    @property
    def views(self) -> str:
        """Views per clip."""
        return self.scores.origin.views


def evaluate(
    path: Path,
    *,
    runtime: Runtime | None,
    data: Path | None = None,
    split: str | None = None,
    views: str | None = None,
    topk: tuple[int, ...] = defaults.TOP_K,
    workers: int | None = None,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> Evaluation:
    """Evaluate the checkpoint or score file at `path`; see `evaluate_files`."""
    options = ScoreOptions(data=data, split=split, views=views, workers=workers)
    return evaluate_files([path], runtime=runtime, options=options, topk=topk, out=out, progress=progress)


def evaluate_files(
    paths: Sequence[Path],
    *,
    runtime: Runtime | None,
    options: ScoreOptions = DEFAULTS,
    topk: tuple[int, ...] = defaults.TOP_K,
    weights: Sequence[float] | None = None,
    search_on: str | Sequence[Path] | None = None,
    annotations: Path | None = None,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> Evaluation:
    """Score the checkpoints in `paths`, read the score files, fuse them if there are several, and measure.

    A run's folder refers to its `best.pt`; without paths, the newest one under `runs/` is used.

    Args:
        paths: checkpoints and score files, in any combination.
        runtime: device and processes for checkpoints; may be None for score files.
        options: how checkpoints are scored.
        topk: values of k; each is limited to the number of classes.
        weights: weight of each path in a fusion; default: equal.
        search_on: where to search for weights: `half`, a split to score checkpoints on, or one score file per path.
        annotations: folder of EPIC-KITCHENS-100's lists of unseen participants and tail classes, used instead of those
            packed with the data.
        out: folder of the report; default: next to the first path.
        progress: receives messages and progress.

    Raises:
        CheckpointError, ScoresError: a file is damaged, or has other classes or clips than the data or the other files.
        UsageError: the split is empty, weights would be searched for on the reported clips, or `annotations` are given
            for data other than EPIC-KITCHENS-100.
        DatasetError: a list is missing or faulty.
        ShardError, ClipError: a clip cannot be read and missing clips are not allowed; there is no result.
        Stopped: received SIGINT or SIGTERM; the scores so far are saved.
    """
    lists = check_call(len(paths), topk=topk, annotations=annotations, weights=weights, search_on=search_on)
    paths = find_inputs(paths, progress)
    _check_search(paths, search_on)
    began = time.perf_counter()
    if out is not None:
        make_folder(out)
    job = Inputs(paths, runtime, options, out, progress)
    if len(paths) == 1:
        scores = job.scores(options.split)[0]
        (folder,) = job.folders_of([scores])
    else:
        scores = _fused(job, weights, search_on, options, progress)
        folder = out or results_folder(paths[0]) / f"eval-fused-{scores.origin.split}"
        if runtime is None or runtime.is_main:
            write_scores(folder / SCORES, scores)
        job.forget()
    if annotations is not None and lists is not None:
        scores = _apart(scores, annotations, lists)
    return measure_scores(scores, folder=folder, topk=topk, seconds=time.perf_counter() - began)


def compare_files(
    paths: Sequence[Path],
    *,
    runtime: Runtime | None,
    options: ScoreOptions = DEFAULTS,
    topk: tuple[int, ...] = defaults.TOP_K,
    annotations: Path | None = None,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> Comparison:
    """Score each of `paths` as `evaluate_files` does, and compare all with the first on the same clips.

    Raises:
        UsageError: `topk` has a number below 1.
        TdpnError: see `evaluate_files`; also if models have other classes, or scores other clips.
    """
    lists = check_call(len(paths), topk=topk, annotations=annotations)
    paths = find_inputs(paths, progress)
    if out is not None:
        make_folder(out)
    job = Inputs(paths, runtime, options, out, progress)
    scores = job.scores(options.split)
    first, *others = align(scores, allow_missing=options.allow_missing, progress=progress)
    paired = [compare_scores(first, other) for other in others]
    folders = job.folders_of(scores)
    job.forget()
    if annotations is not None and lists is not None:
        scores = [_apart(part, annotations, lists) for part in scores]
    return Comparison(
        evaluations=[
            measure_scores(part, folder=folder, topk=topk) for part, folder in zip(scores, folders, strict=True)
        ],
        paired=paired,
        folder=out or results_folder(paths[0]) / f"compared-{first.origin.split}",
    )


def measure_scores(
    scores: Scores, *, folder: Path, topk: tuple[int, ...] = defaults.TOP_K, seconds: float = 0.0
) -> Evaluation:
    """Compute all metrics of `scores` on the labelled clips."""
    probabilities = scores.probabilities()
    heads: dict[str, Metrics] = {}
    several: dict[str, MultilabelMetrics] = {}
    for head, values in probabilities.items():
        labels, classes = scores.labels[head], scores.classes[head]
        rows = np.flatnonzero(known(labels))
        ids = [scores.ids[row] for row in rows.tolist()]
        if len(rows) and is_multilabel(labels):
            thresholds = thresholds_of(scores, head)
            several[head] = measure_labels(values[rows], labels[rows], ids=ids, classes=classes, thresholds=thresholds)
        elif len(rows):
            heads[head] = measure(values[rows], labels[rows], ids=ids, classes=classes, topk=topk)
    epic: list[EpicRow] = []
    if is_epic(list(scores.classes)) and len(heads) == 2:
        epic = measure_epic(probabilities, scores.labels, scores.ids, scores.origin.subsets, scores.origin.split)
    return Evaluation(scores=scores, folder=folder, seconds=seconds, heads=heads, multilabel=several, epic=epic)


def thresholds_of(scores: Scores, head: str) -> list[float]:
    """Return the thresholds of multi-label classes: those of the checkpoint, else 0.5."""
    return scores.origin.thresholds.get(head, [USUAL_THRESHOLD] * len(scores.classes[head]))


def _check_topk(topk: tuple[int, ...]) -> None:
    if min(topk, default=0) < 1:
        raise UsageError(f"--topk must be numbers of at least 1, not {list(topk)}")


def _apart(scores: Scores, annotations: Path, lists: Mapping[str, Path]) -> Scores:
    """Return `scores` with the subsets of `lists`, which are also measured separately."""
    from tdpn_core.datasets.epic import read_subsets

    origin = scores.origin
    if not has_subset_lists(origin.dataset) or not is_epic(list(scores.classes)):
        what = f"these lists belong to EPIC-KITCHENS-100, but the scores to {origin.dataset}"
        raise UsageError(what, where="--annotations")
    subsets = read_subsets(lists, origin.split, scores.ids, scores.classes, where=annotations)
    return dataclasses.replace(scores, origin=dataclasses.replace(origin, subsets=subsets))


def _fused(
    job: Inputs,
    weights: Sequence[float] | None,
    search_on: str | Sequence[Path] | None,
    options: ScoreOptions,
    progress: Progress,
) -> Scores:
    """Return the fused scores of all files on the reported clips."""
    aligned = align(job.scores(options.split), allow_missing=options.allow_missing, progress=progress)
    if search_on is None:
        return fuse(aligned, weights or [1.0] * len(aligned))
    reported = aligned[0].origin.split
    if search_on == defaults.SEARCH_ON:
        halves = [split_in_half(part) for part in aligned]
        searched, aligned = [first for first, _ in halves], [second for _, second in halves]
        where = f"the other half of the {reported} split, {len(searched[0].ids)} clips"
    else:
        others = job.scores(search_on) if isinstance(search_on, str) else [read_scores(path) for path in search_on]
        searched = align(others, allow_missing=options.allow_missing, progress=progress)
        _must_be_apart(searched, aligned)
        where = f"the {searched[0].origin.split} split, {len(searched[0].ids)} clips"
    found = search_weights(searched)
    note = f"weights found on {where}: {', '.join(f'{weight:g}' for weight in found)}"
    progress.say(note)
    fused = fuse(aligned, found)
    return dataclasses.replace(fused, origin=dataclasses.replace(fused.origin, notes=[note]))


def check_call(
    files: int,
    *,
    topk: tuple[int, ...],
    annotations: Path | None,
    weights: Sequence[float] | None = None,
    search_on: str | Sequence[Path] | None = None,
) -> Mapping[str, Path] | None:
    """Refuse wrong arguments before any file is looked up, downloaded or scored.

    Returns:
        The files of EPIC-KITCHENS-100's subsets in `annotations`, by name.

    Raises:
        UsageError: a fusion of fewer than two files, weights that do not fit, or an invalid k.
        DatasetError: `annotations` does not exist, or lacks a list.
    """
    _check_topk(topk)
    if files < 2 and (weights is not None or search_on is not None):
        raise UsageError("fusion needs at least two files", where="--fuse", hint="name two or more")
    if weights is not None:
        check_weights(weights, files)
    if annotations is None:
        return None
    from tdpn_core.datasets.epic import find_lists  # imports pandas, which few evaluations need

    return find_lists(annotations)


def _check_search(paths: Sequence[Path], search_on: str | Sequence[Path] | None) -> None:
    if isinstance(search_on, str) and search_on != defaults.SEARCH_ON and any(is_scores(path) for path in paths):
        what = f"score files cannot be scored on the {search_on} split"
        hint = f"give one score file of that split for each, or use {defaults.SEARCH_ON}"
        raise UsageError(what, where="--search-on", hint=hint)
    if search_on is not None and not isinstance(search_on, str) and len(search_on) != len(paths):
        raise UsageError(f"{len(search_on)} files for {len(paths)} to fuse", where="--search-on")


def _must_be_apart(searched: Sequence[Scores], reported: Sequence[Scores]) -> None:
    """
    Raises:
        UsageError: a clip is in both.
    """
    both = set(searched[0].ids) & set(reported[0].ids)
    if both:
        what = f"weights would be searched for on {len(both)} of the reported clips, for example {min(both)!r}"
        raise UsageError(what, where="--search-on", hint=f"name another split, or use {defaults.SEARCH_ON}")


def find_inputs(paths: Sequence[Path], progress: Progress = SILENT) -> list[Path]:
    """Resolve `paths` as in `find_weights`, and an evaluation's folder to its scores.

    Without paths, return the newest `best.pt` under `runs/`.

    Raises:
        CheckpointError: there is none, or a name cannot be resolved.
    """
    if not paths:
        return [newest_checkpoint()]
    return [_found(path, progress) for path in paths]


def _found(path: Path, progress: Progress) -> Path:
    for name in (BEST, SCORES):
        if (path / name).is_file():
            return path / name
    if path.is_file() and str(path) not in ZOO:
        return path
    from tdpn_core.weights.resolve import find_weights  # torch, which score files do not need

    return find_weights(path, progress)


class Inputs:
    """The input files."""

    def __init__(
        self,
        paths: Sequence[Path],
        runtime: Runtime | None,
        options: ScoreOptions,
        out: Path | None,
        progress: Progress,
    ) -> None:
        self.paths = paths
        self._runtime = runtime
        self._options = options
        self._out = out
        self._progress = progress
        self._kept: list[tuple[Path, Scores]] = []

    def scores(self, split: str | None) -> list[Scores]:
        """Return the scores of each file: read from it, or computed on `split`."""
        return [self._read(path) if is_scores(path) else self._score(path, split) for path in self.paths]

    def forget(self) -> None:
        """Remove the stored scores of single checkpoints, which let an interrupted fusion resume."""
        from tdpn_core.evaluation.score_checkpoint import forget

        for path, scores in self._kept:
            assert self._runtime is not None
            forget(path, scores, self._runtime)

    def folders_of(self, scores: Sequence[Scores]) -> list[Path]:
        """Return the report folder of each file, given its scores: next to it, or below `out`."""
        pairs = list(zip(self.paths, scores, strict=True))
        if self._out is None:
            return [
                path.parent if is_scores(path) else default_folder(path, part.origin.split, part.origin.views)
                for path, part in pairs
            ]
        if len(pairs) == 1:
            return [self._out]
        return [self._out / f"{number}-{path.parent.name}-{path.stem}" for number, (path, _) in enumerate(pairs, 1)]

    def _read(self, path: Path) -> Scores:
        scores = read_scores(path)
        for what, has, asked in (
            ("split", scores.origin.split, self._options.split),
            ("views", scores.origin.views, self._options.views),
        ):
            if asked is not None and asked != has:
                hint = "score its checkpoint with these options"
                raise UsageError(f"its scores have {what} {has}, not {asked}", where=path, hint=hint)
        return scores

    def _score(self, path: Path, split: str | None) -> Scores:
        from tdpn_core.evaluation.score_checkpoint import (
            score_checkpoint,
        )  # imports torch, which score files do not need

        assert self._runtime is not None
        options = dataclasses.replace(self._options, split=split)
        alone = len(self.paths) == 1
        scores = score_checkpoint(
            path,
            runtime=self._runtime,
            options=options,
            folder=self._out if alone else None,
            keep=not alone,
            progress=self._progress,
        )
        self._kept += [] if alone else [(path, scores)]
        return scores
