"""Score a split with a checkpoint: resumed where it was interrupted, shared among processes, into one file."""

from __future__ import annotations

import hashlib
import json
import math
import signal
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch

from tdpn_core.checkpoint import Checkpoint, is_checkpoint
from tdpn_core.claim import claimed
from tdpn_core.config import RunConfig, parse_views, to_dict
from tdpn_core.errors import ClipError, Interrupted, InUseError, ShardError, Stopped, UsageError
from tdpn_core.evaluate.match import check_data, check_frames, match_classes, reordered
from tdpn_core.evaluate.options import DEFAULTS, SCORES, SPLIT, ScoreOptions, default_folder
from tdpn_core.evaluate.partial import PartialScores
from tdpn_core.evaluate.scorefile import Coverage, Origin, Scores, write_scores
from tdpn_core.evaluate.scores import VIEWS_AT_ONCE, ScoredClips, batch_clips, score_clips
from tdpn_core.evaluate.trained import overlap
from tdpn_core.progress import SILENT, Progress
from tdpn_core.runtime import Runtime
from tdpn_core.sampling.dataset import ViewClips
from tdpn_core.sampling.loader import loader_workers
from tdpn_core.shards import ClipStore, find_prepared
from tdpn_core.shards.manifest import MANIFEST, across_notes
from tdpn_core.train.stop import StopRequest, stop_requests
from tdpn_core.weights.adopt import open_checkpoint
from tdpn_core.weights.read import read_weights

_PARTIAL = "partial"
_UNREADABLE = "tdpn data --verify tells all that is damaged; --allow-missing leaves such clips out and counts them"


def score_checkpoint(
    path: Path,
    *,
    runtime: Runtime,
    options: ScoreOptions = DEFAULTS,
    folder: Path | None = None,
    keep: bool = False,
    progress: Progress = SILENT,
) -> Scores:
    """Score every clip of a split once, and leave `scores.safetensors` in `folder` (default: beside the checkpoint).

    What an interrupted run of the same settings has scored is taken over: the file is then the same to the last bit.
    With `keep`, this is so for a run that came to its end, too, until `forget` is called.

    Raises:
        CheckpointError: damaged, or trained on other classes or otherwise prepared frames than the data has.
        UsageError: the split is empty.
        ShardError, ClipError: a clip cannot be read.
        InUseError: another process scores into the same folder.
        Stopped: SIGINT or SIGTERM came; what was scored is saved.
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
    """What the run's own validation found at the end of the epoch that these weights are of."""
    row = checkpoint.state.history[-1] if checkpoint.state.history else {}
    top1 = row.get("val_top1", math.nan)
    return (
        {"epoch": float(row["epoch"]), "top1": float(top1)}
        if math.isfinite(top1) and checkpoint.state.batch == 0
        else {}
    )


def forget(path: Path, scores: Scores, runtime: Runtime) -> None:
    """Remove what `score_checkpoint` kept of the checkpoint at `path`, for which it gave `scores`."""
    runtime.barrier()
    if runtime.is_main:
        folder = default_folder(path, scores.origin.split, scores.origin.views)
        with suppress(InUseError), _claimed(folder):  # another evaluation that began since removes its own
            PartialScores(folder / _PARTIAL, "").remove()


def _prepared(path: Path, data: Path | None) -> Path:
    """The prepared data to score another project's file on."""
    try:
        return find_prepared(data)
    except UsageError:
        read_weights(path)  # that it is no checkpoint at all is to be told first
        raise


def weights_digest(checkpoint: Checkpoint) -> str:
    """sha256 of a checkpoint's weights."""
    hasher = hashlib.sha256()
    for name in sorted(checkpoint.weights):
        value = checkpoint.weights[name].detach().cpu().contiguous()
        hasher.update(f"\0{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        hasher.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return hasher.hexdigest()


def _claimed(folder: Path) -> AbstractContextManager[bool]:
    """The claim on an evaluation's folder."""
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
        self.split = options.split or SPLIT
        self.data = options.data or Path(self.config.data.path)
        if options.data is None and not (self.data / MANIFEST).is_file():
            what = f"the data that it was trained on is not in {self.data}"
            raise ShardError(what, where=path, hint="name the folder of prepared data with --data")
        self.clips = ClipStore(self.data, self.split)
        if len(self.clips) == 0:
            raise UsageError(f"the split {self.split!r} has no clips", where=self.data, hint="choose another --split")
        if not options.allow_mismatch:
            check_frames(self.config.data, self.clips.manifest, where=path)
        if options.data is None:
            check_data(self.config.data, self.clips.manifest, self.data, where=path)
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
        """Held by the main process while partial scores are written and removed.

        Raises:
            InUseError: another evaluation works in the folder.
        """
        return _claimed(self.folder) if self.runtime.is_main else nullcontext()

    def announce(self, progress: Progress) -> None:
        for head in reordered(self.matched.columns):
            if head not in self.matched.subsets:
                progress.say(f"{head}: the data has its classes in another order than the checkpoint; matched by name")

    def run(self, progress: Progress, stop: StopRequest) -> None:
        """Score what is not scored yet and is this process's part."""
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
            if stop:  # the signal that asks us to stop may have ended the loader's workers, too
                self._leave(stop)
            raise type(error)(error.what, where=error.where, hint=_UNREADABLE) from error
        finally:
            self.partial.save()
            progress.end()

    def finish(self, *, keep: bool = False) -> Scores:
        """All that all processes have scored, in one file; the parts are removed unless they are to be kept."""
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
            raise ClipError(f"no clip could be read, this one first: {reason}", where=first)
        left_out = manifest.left_out.get(self.split, 0)
        coverage = Coverage(
            listed=manifest.listed.get(self.split),
            on_disk=len(store) + left_out,
            decoded=len(store),
            scored=len(scored.clips),
            missing=missing,
        )
        rows = np.array(scored.clips)
        return Scores(
            ids=[store.ids[clip] for clip in scored.clips],
            classes=self.matched.classes,
            labels={head: labels[rows] for head, labels in store.labels.items()},
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
            ),
        )

    def _fingerprint(self) -> str:
        """Of everything that decides a score: parts of another evaluation are not taken for parts of this one."""
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
            hint="run the same command again to go on",
        )
