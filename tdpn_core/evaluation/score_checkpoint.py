"""Score a split with a checkpoint into one file, with resume after interruption and several processes."""

from __future__ import annotations

import hashlib
import json
import math
import signal
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch

from tdpn_core import defaults
from tdpn_core.checkpoint import Checkpoint, is_checkpoint
from tdpn_core.claim import claimed
from tdpn_core.config.schema import RunConfig, parse_views, to_dict
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.errors import (
    CheckpointError,
    ClipError,
    Interrupted,
    InUseError,
    ScoresError,
    ShardError,
    Stopped,
    UsageError,
)
from tdpn_core.evaluation.array_file import read_arrays, write_arrays
from tdpn_core.evaluation.class_mapping import check_data, check_frames, match_classes, reordered
from tdpn_core.evaluation.inference import VIEWS_AT_ONCE, ScoredClips, batch_clips, score_clips
from tdpn_core.evaluation.options import DEFAULTS, SCORES, ScoreOptions, default_folder
from tdpn_core.evaluation.score_file import Coverage, Origin, Scores, write_scores
from tdpn_core.evaluation.training_clips import overlap
from tdpn_core.files import make_folder, sweep
from tdpn_core.labels import Labels, is_multilabel, known
from tdpn_core.progress import SILENT, Progress
from tdpn_core.sampling.dataset import ViewClips
from tdpn_core.sampling.loader import loader_workers
from tdpn_core.shards import ClipStore, find_prepared
from tdpn_core.shards.manifest import MANIFEST, across_notes
from tdpn_core.signals import StopRequest, stop_requests
from tdpn_core.weights.open_checkpoint import open_checkpoint
from tdpn_core.weights.safe_load import read_weights

_PARTIAL = "partial"
_UNREADABLE = "tdpn data --verify lists all damaged clips; --allow-missing skips and counts them"


def score_checkpoint(
    path: Path,
    *,
    runtime: Runtime,
    options: ScoreOptions = DEFAULTS,
    folder: Path | None = None,
    keep: bool = False,
    progress: Progress = SILENT,
) -> Scores:
    """Score every clip of a split, and write `scores.safetensors` to `folder` (default: next to the checkpoint).

    Scores of an interrupted run with the same settings are reused, with bit-identical results. With `keep`, those of a
    finished run are also kept for reuse until `forget` is called.

    Raises:
        CheckpointError: it is damaged, or was trained on other classes or differently prepared frames than the data.
        UsageError: the split is empty.
        ShardError, ClipError: a clip cannot be read and missing clips are not allowed.
        InUseError: another process is scoring into the same folder.
        Stopped: received SIGINT or SIGTERM; the scores so far are saved.
    """
    foreign = path.is_file() and not is_checkpoint(path)
    data = _prepared(path, options.data) if foreign else None
    checkpoint = open_checkpoint(path, data=data, classes=options.classes, ema=options.ema, progress=progress)
    job = _Job(path, checkpoint, options, runtime, folder)
    listener = progress if runtime.is_main else SILENT
    job.announce(listener)
    with job.claim():
        with stop_requests() as stop:
            job.run(listener, stop)
        return job.finish(keep=keep)


def _validated(checkpoint: Checkpoint) -> dict[str, float]:
    """Return the run's own validation result for these weights."""
    row = checkpoint.state.history[-1] if checkpoint.state.history else {}
    name = "map" if checkpoint.config.data.multilabel else "top1"
    value = row.get(f"val_{name}", math.nan)
    if not math.isfinite(value) or checkpoint.state.batch:
        return {}
    return {"epoch": float(row["epoch"]), name: float(value)}


def _padded(labels: Labels, classes: Sequence[str]) -> Labels:
    """Return labels with a column for each class: in multi-label data no clip has a class that the data lacks."""
    if not is_multilabel(labels):
        return labels
    rest = np.where(known(labels), 0, -1)[:, None]
    return np.hstack([labels, np.repeat(rest, len(classes) - labels.shape[1], axis=1)])


def forget(path: Path, scores: Scores, runtime: Runtime) -> None:
    """Remove the scores that `score_checkpoint` kept for the checkpoint at `path`, given its result."""
    runtime.barrier()
    if runtime.is_main:
        folder = default_folder(path, scores.origin.split, scores.origin.views)
        with suppress(InUseError), _claimed(folder):  # a later evaluation removes its own
            PartialScores(folder / _PARTIAL, "").remove()


def _prepared(path: Path, data: Path | None) -> Path:
    """Return the prepared data on which to score another project's file."""
    try:
        return find_prepared(data)
    except UsageError:
        read_weights(path)  # report first if it is not a checkpoint at all
        raise


def weights_digest(checkpoint: Checkpoint) -> str:
    """Return the SHA-256 of a checkpoint's weights."""
    hasher = hashlib.sha256()
    for name in sorted(checkpoint.weights):
        value = checkpoint.weights[name].detach().cpu().contiguous()
        hasher.update(f"\0{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        hasher.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return hasher.hexdigest()


def _claimed(folder: Path) -> AbstractContextManager[bool]:
    """Claim an evaluation's folder."""
    return claimed(folder, "evaluating", hint="wait until it has finished, or choose another --out")


class _Job:
    """One checkpoint on one split."""

    def __init__(
        self, path: Path, checkpoint: Checkpoint, options: ScoreOptions, runtime: Runtime, folder: Path | None
    ) -> None:
        self.path = path
        self.checkpoint = checkpoint
        self.config: RunConfig = checkpoint.config
        self.options = options
        self.runtime = runtime
        self.views = options.views or self.config.sampling.views
        parse_views(self.views)
        self.split = options.split or defaults.SPLIT
        self.data = options.data or Path(self.config.data.path)
        if options.data is None and not (self.data / MANIFEST).is_file():
            what = f"its training data is not in {self.data}"
            raise ShardError(what, where=path, hint="give the folder of prepared data with --data")
        self.clips = ClipStore(self.data, self.split)
        if len(self.clips) == 0:
            raise UsageError(f"the split {self.split!r} has no clips", where=self.data, hint="choose another --split")
        if not options.allow_mismatch:
            check_frames(self.config.data, self.clips.manifest, where=path)
        if options.data is None:
            check_data(self.config.data, self.clips.manifest, self.data, where=path)
        if self.clips.manifest.multilabel != self.config.data.multilabel:
            kinds = {True: "any number of classes", False: "one class"}
            what = f"gives a clip {kinds[self.config.data.multilabel]}, but a clip of {self.data} has"
            hint = "prepare the data with --multilabel for a network trained on such data, and without for others"
            raise CheckpointError(f"{what} {kinds[self.clips.manifest.multilabel]}", where=path, hint=hint)
        self.matched = match_classes(
            self.config.data.classes,
            self.clips.classes,
            where=path,
            owner=self.clips.manifest.dataset,
            only_shared=options.only_shared,
        )
        self.views_at_once = options.views_at_once or VIEWS_AT_ONCE[runtime.device_type]
        self.weights = weights_digest(checkpoint)
        self.folder = folder or default_folder(path, self.split, self.views)
        self.partial = PartialScores(self.folder / _PARTIAL, self._fingerprint())

    def claim(self) -> AbstractContextManager[object]:
        """Claim the folder in the main process while partial scores are written and removed.

        Raises:
            InUseError: another evaluation uses the folder.
        """
        return _claimed(self.folder) if self.runtime.is_main else nullcontext()

    def announce(self, progress: Progress) -> None:
        for head in reordered(self.matched.columns):
            if head not in self.matched.subsets:
                progress.say(f"{head}: the data has its classes in another order than the checkpoint; matched by name")

    def run(self, progress: Progress, stop: StopRequest) -> None:
        """Score this process's share of the remaining clips."""
        if self.runtime.is_main:
            self.partial.open()
        done = set(self.partial.load().clips)
        batches = batch_clips(len(self.clips), self.views, self.views_at_once)[self.runtime.rank :: self.runtime.world]
        todo = [batch for batch in batches if not done.issuperset(batch)]
        count = sum(map(len, todo))
        if done:
            progress.say(f"{self.path}: {len(done)} of {len(self.clips)} clips were scored already")
        dataset = ViewClips(self.clips, self.config.model, replace(self.config.sampling, views=self.views))
        workers = self.options.workers
        progress.begin(f"scoring, {self.views} views", count)
        try:
            if not todo:
                return
            for scored in score_clips(
                self.checkpoint.build(self.runtime.device),
                dataset,
                todo,
                workers=loader_workers(self.runtime.device_type) if workers is None else workers,
                views_at_once=self.views_at_once,
                tolerant=self.options.allow_missing,
                precision=self.config.train.precision,
            ):
                self.partial.add(scored)
                progress.advance(len(scored.clips) + len(scored.missing))
                if stop:
                    self._leave(stop)
        except (ClipError, ShardError) as error:
            if stop:  # the same signal may have ended the loader's workers
                self._leave(stop)
            raise type(error)(error.what, where=error.where, hint=_UNREADABLE) from error
        finally:
            self.partial.save()
            progress.end()

    def finish(self, *, keep: bool = False) -> Scores:
        """Join the scores of all processes in one file; remove the partial files unless `keep`."""
        self.runtime.barrier()
        scores = self._scores(self.partial.load())
        self.runtime.barrier()
        if self.runtime.is_main:
            write_scores(self.folder / SCORES, scores)
            if not keep:
                self.partial.remove()
        return scores

    def _scores(self, scored: ScoredClips) -> Scores:
        store, manifest = self.clips, self.clips.manifest
        missing = {store.ids[clip]: scored.missing[clip] for clip in sorted(scored.missing)}
        assert sorted([*scored.clips, *scored.missing]) == list(range(len(store)))
        if not scored.clips:
            first, reason = next(iter(missing.items()))
            raise ClipError(f"no clip could be read; the first: {reason}", where=first)
        coverage = Coverage(
            listed=manifest.listed.get(self.split),
            on_disk=manifest.on_disk(self.split),
            decoded=len(store),
            scored=len(scored.clips),
            missing=missing,
        )
        rows = np.array(scored.clips)
        return Scores(
            ids=[store.ids[clip] for clip in scored.clips],
            classes=self.matched.classes,
            labels={head: _padded(labels[rows], self.matched.classes[head]) for head, labels in store.labels.items()},
            logits={head: scored.logits[head][:, :, self.matched.columns[head]] for head in store.classes},
            origin=Origin(
                checkpoint=str(self.path),
                weights=self.weights,
                model=f"{self.config.model.name} {self.config.model.arch}",
                dataset=manifest.dataset,
                data=str(self.data),
                data_digest=manifest.digest,
                split=self.split,
                views=self.views,
                coverage=coverage,
                notes=across_notes(manifest, self.split),
                subsets=manifest.subsets,
                settings=json.loads(json.dumps(to_dict(self.config))),
                trained_on=self.config.data.digest,
                training=overlap(self.config.data, self.path.parent, store, rows),
                parts=self.matched.subsets,
                validation=_validated(self.checkpoint),
                thresholds=self._thresholds(),
            ),
        )

    def _thresholds(self) -> dict[str, list[float]]:
        """Return the thresholds of multi-label classes in the order of the scores."""
        stored = self.checkpoint.calibration
        by_head = {} if stored is None else stored.class_thresholds
        return {
            head: np.asarray(values)[self.matched.columns[head]].tolist()
            for head, values in by_head.items()
            if head in self.matched.columns
        }

    def _fingerprint(self) -> str:
        """Fingerprint of everything that affects scores, so that partial scores of other evaluations are not reused."""
        parts = [
            self.weights,
            to_dict(self.config),
            self.clips.manifest.digest,
            self.split,
            self.views,
            self.views_at_once,
            self.runtime.device_type,
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _leave(self, stop: StopRequest) -> NoReturn:
        self.partial.save()
        raise (Interrupted if stop.signal == signal.SIGINT else Stopped)(
            f"saved the scores of {len(self.partial.load().clips)} of {len(self.clips)} clips",
            where=self.partial.folder,
            hint="run the same command again to continue",
        )


_KIND = "partial scores"
_SAVE_EVERY_SECONDS = 20.0


class PartialScores:
    """The clips scored by runs with one `fingerprint`, stored in `folder`."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder
        self._fingerprint = fingerprint
        self._waiting: list[ScoredClips] = []
        self._saved_at = time.monotonic()

    def open(self) -> None:
        """Create the folder, so that a failure is reported before scoring.

        Raises:
            TdpnError: it cannot be created.
        """
        make_folder(self.folder)

    def load(self) -> ScoredClips:
        """Load all intact partial scores; files of other runs and damaged files are ignored.

        A clip scored twice is included once; a clip that was read eventually is not missing.
        """
        clips: dict[int, dict[str, np.ndarray]] = {}
        missing: dict[int, str] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                header, arrays = read_arrays(path, _KIND)
            except ScoresError:
                continue
            if header["fingerprint"] != self._fingerprint:
                continue
            missing |= {int(clip): reason for clip, reason in header["missing"].items()}
            numbers = arrays.pop("clips")
            clips |= {clip: _row(arrays, row) for row, clip in enumerate(numbers.tolist())}
        order = sorted(clips)
        heads = clips[order[0]] if order else {}
        logits = {head: np.stack([clips[clip][head] for clip in order]) for head in heads}
        return ScoredClips(order, logits, {clip: missing[clip] for clip in missing if clip not in clips})

    def add(self, scored: ScoredClips) -> None:
        """Add `scored`; it is written within `_SAVE_EVERY_SECONDS`, or on `save`."""
        self._waiting.append(scored)
        if time.monotonic() - self._saved_at > _SAVE_EVERY_SECONDS:
            self.save()

    def save(self) -> None:
        """Write pending scores."""
        if self._waiting:
            scored = join(self._waiting)
            header = {"fingerprint": self._fingerprint, "missing": scored.missing}
            arrays = {"clips": np.array(scored.clips, dtype=np.int64), **scored.logits}
            write_arrays(self.folder / f"{uuid.uuid4().hex}.safetensors", _KIND, header, arrays)
        self._waiting = []
        self._saved_at = time.monotonic()

    def remove(self) -> None:
        """Remove all partial scores, also of other runs; only if no other process uses the folder."""
        for path in self.folder.glob("*.safetensors"):
            path.unlink(missing_ok=True)
        if self.folder.is_dir():
            sweep(self.folder)
            self.folder.rmdir()


def join(parts: list[ScoredClips]) -> ScoredClips:
    """Concatenate several parts."""
    heads = next((part.logits for part in parts if part.logits), {})
    missing: dict[int, str] = {}
    for part in parts:
        missing |= part.missing
    return ScoredClips(
        [clip for part in parts for clip in part.clips],
        {head: np.concatenate([part.logits[head] for part in parts if part.logits]) for head in heads},
        missing,
    )


def _row(arrays: Mapping[str, np.ndarray], row: int) -> dict[str, np.ndarray]:
    return {head: values[row] for head, values in arrays.items()}
