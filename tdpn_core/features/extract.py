"""Extract features of prepared clips, one file per split; resumable, and distributed over processes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import signal
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from tdpn_core.archive.table import PARQUET, check_table
from tdpn_core.checkpoint import Checkpoint
from tdpn_core.claim import claimed
from tdpn_core.config.schema import parse_views, to_dict, whole_frames
from tdpn_core.distributed.runtime import Runtime, join_ranks
from tdpn_core.errors import Interrupted, ScoresError, Stopped, UsageError
from tdpn_core.evaluation.array_file import Arrays, read_arrays, write_arrays
from tdpn_core.evaluation.inference import VIEWS_AT_ONCE
from tdpn_core.evaluation.score_checkpoint import weights_digest
from tdpn_core.features.frozen import build_frozen, compute_features, open_frozen
from tdpn_core.features.store import PARTS, Features, write_features, write_parquet
from tdpn_core.features.stretches import Rows, Stretches
from tdpn_core.files import make_folder
from tdpn_core.model.base import Network
from tdpn_core.progress import SILENT, Progress
from tdpn_core.runs import BEST, newest_checkpoint
from tdpn_core.sampling.loader import WORKER_TIMEOUT, loader_workers
from tdpn_core.sampling.worker_loader import WorkerLoader
from tdpn_core.shards import ClipStore, find_prepared, load_manifest
from tdpn_core.signals import StopRequest, stop_requests
from tdpn_core.weights.resolve import find_weights

FOLDER = "features"
"""Name of the folder of features in the prepared data folder."""

_CLIPS_AT_ONCE = 8
_SAVE_EVERY_SECONDS = 20.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureOptions:
    """Options of `extract_features`."""

    splits: Sequence[str] = ()
    """Splits; empty: all splits of the data."""

    views: str | None = None
    """Test views; None: the checkpoint's."""

    stride: float | None = None
    """Seconds between segments of a clip, with one row per segment; None: one row per test view."""

    size: int | None = None
    """Input size in pixels for another project's network; None: by the data, at most 224."""

    frames: int | None = None
    """Frames per clip for another project's network; None: its own, 8 for an image network."""

    workers: int | None = None
    """Processes that read clips; None: chosen by the machine."""

    parquet: bool = False
    """Write a Parquet table as well."""

    def check(self) -> None:
        """
        Raises:
            UsageError: an option is invalid, or contradicts another.
        """
        if self.stride is not None and self.views is not None:
            what = "segments of a clip have one view each"
            raise UsageError(what, where="--views", hint="leave out --stride or --views")
        if self.stride is not None and not self.stride > 0:
            raise UsageError(f"must be a positive number of seconds, not {self.stride:g}", where="--stride")
        if self.views is not None:
            parse_views(self.views)
            if whole_frames(self.views):
                raise UsageError("features require square views", where="--views", hint="give 1x1, 10x3 or the like")


DEFAULTS = FeatureOptions()


def extract_features(
    data: Path | None = None,
    *,
    checkpoint: Path | None = None,
    out: Path | None = None,
    options: FeatureOptions = DEFAULTS,
    gpus: int | None = None,
    progress: Progress = SILENT,
) -> dict[str, Path]:
    """Write features of prepared clips, the input of a network's classifier, as `tdpn features` does.

    Repeat an interrupted call to continue it; features that have been computed are not computed again.

    Args:
        data: folder of the prepared data set; None: the only one under `data/`.
        checkpoint: checkpoint of tdpn or of another project, run folder, run name, or name of `tdpn models --weights`;
            None: the newest `best.pt` under `runs/`.
        out: output folder; None: `features/<checkpoint>` in the data set's folder.
        options: splits, views or stride, and how clips are read.
        gpus: GPUs of this process, 0 for the CPU; None: one if available.
        progress: receives the number of clips and a line for each file.

    Returns:
        The file of each split.

    Raises:
        CheckpointError: the checkpoint is damaged or of an unknown project.
        ToolError: Parquet tables are requested, and pyarrow is not installed.
        UsageError: the split does not exist, or options contradict the checkpoint.
        ShardError, ClipError: a clip cannot be read.
        InUseError: another process writes features to the same folder.
        Stopped: SIGINT or SIGTERM was received; the features so far are saved.
    """
    folder, path = _prepared(data), find_weights(checkpoint, progress) if checkpoint else newest_checkpoint()
    options.check()
    frozen = open_frozen(path, folder, size=options.size, frames=options.frames, views=options.views)
    target = out or folder / FOLDER / _name(path, checkpoint or path)
    if options.parquet:
        check_table(target / f"features{PARQUET}", option="--parquet")
    files: dict[str, Path] = {}
    with join_ranks(gpus, say=progress.say) as runtime:
        listener = progress if runtime.is_main else SILENT
        for split in options.splits or load_manifest(folder).clips():
            job = _Job(path, frozen, folder, split, target, options, runtime)
            with stop_requests() as stop:
                files[split] = job.run(listener, stop)
    return files


def _prepared(data: Path | None) -> Path:
    try:
        return find_prepared(data)
    except UsageError as error:
        hint = "add --archive features.parquet for features of videos, or prepare it with tdpn prep"
        raise UsageError(error.what, where=data, hint=error.hint if data is None else hint) from error


def _name(path: Path, named: Path) -> str:
    """Return the folder name for a checkpoint: for the best one of a run, the run's name."""
    if path.name == BEST:
        return path.absolute().parent.name
    return named.stem if named.suffix else named.name


class _Job:
    """Extracts the features of one split."""

    def __init__(
        self,
        path: Path,
        frozen: Checkpoint,
        data: Path,
        split: str,
        folder: Path,
        options: FeatureOptions,
        runtime: Runtime,
    ) -> None:
        self.path = path
        self.frozen = frozen
        self.clips = ClipStore(data, split)
        self.split = split
        self.file = folder / f"{split}.safetensors"
        self.options = options
        self.runtime = runtime
        self.weights = weights_digest(frozen)
        self.dataset = Stretches(self.clips, frozen.config.model, frozen.config.sampling, options.stride)
        parts = [self.weights, to_dict(frozen.config), split, options.stride, runtime.device_type]
        self.fingerprint = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        self.parts = folder / f"{split}-partial"
        self._waiting: list[Arrays] = []
        self._saved_at = time.monotonic()

    def run(self, progress: Progress, stop: StopRequest) -> Path:
        hint = "wait until it has finished, or choose another --out"
        if self.runtime.is_main:
            with claimed(self.file.parent, "extracting features", hint=hint):
                return self._run(progress, stop)
        return self._run(progress, stop)

    def _run(self, progress: Progress, stop: StopRequest) -> Path:
        make_folder(self.parts)
        try:
            self._extract(progress, stop)
        finally:
            self._save()
        self.runtime.barrier()
        features = self._joined()
        self.runtime.barrier()
        if self.runtime.is_main:
            write_features(self.file, features)
            if self.options.parquet:
                write_parquet(self.file.with_suffix(".parquet"), features)
            for part in self.parts.glob("*.safetensors"):
                part.unlink(missing_ok=True)
            self.parts.rmdir()
            rows, steps, channels = features.values.shape
            progress.say(f"{self.file}: {rows} rows of {steps} x {channels} for {len(self.clips)} clips")
        return self.file

    def _extract(self, progress: Progress, stop: StopRequest) -> None:
        done = {int(clip) for part in self._loaded() for clip in part["clip"]}
        every = [
            list(range(start, min(start + _CLIPS_AT_ONCE, len(self.clips))))
            for start in range(0, len(self.clips), _CLIPS_AT_ONCE)
        ]
        todo = [batch for batch in every[self.runtime.rank :: self.runtime.world] if not done.issuperset(batch)]
        if done:
            progress.say(f"{self.file}: {len(done)} of {len(self.clips)} clips have been computed already")
        progress.begin(f"features of {self.split}", sum(map(len, todo)))
        try:
            if not todo:
                return
            model = build_frozen(self.frozen, self.runtime.device)
            workers = self.options.workers
            loader = WorkerLoader(
                self.dataset,
                self.clips.ids,
                todo,
                list,
                workers=loader_workers(self.runtime.device_type) if workers is None else workers,
                pin=self.runtime.device_type == "cuda",
                timeout=WORKER_TIMEOUT,
            )
            for items in loader:
                self._waiting.append(self._computed(model, items))
                progress.advance(len(items))
                if time.monotonic() - self._saved_at > _SAVE_EVERY_SECONDS:
                    self._save()
                if stop:
                    raise (Interrupted if stop.signal == signal.SIGINT else Stopped)(
                        f"stopped; saved the features of a part of {len(self.clips)} clips",
                        where=self.parts,
                        hint="run the same command again to continue",
                    )
        finally:
            progress.end()

    def _computed(self, model: Network, items: Sequence[Rows]) -> Arrays:
        chunks = torch.cat([item.clip for item in items]).split(VIEWS_AT_ONCE[self.runtime.device_type])
        return {
            "values": np.concatenate([compute_features(model, chunk, self.frozen.config.sampling) for chunk in chunks]),
            "clip": np.concatenate([np.full(len(item.clip), item.number) for item in items]),
            "start": np.concatenate([item.start for item in items]),
            "end": np.concatenate([item.end for item in items]),
        }

    def _save(self) -> None:
        if self._waiting:
            joined_parts = _concatenated(self._waiting)
            write_arrays(
                self.parts / f"{uuid.uuid4().hex}.safetensors", PARTS, {"fingerprint": self.fingerprint}, joined_parts
            )
        self._waiting, self._saved_at = [], time.monotonic()

    def _loaded(self) -> list[Arrays]:
        found = []
        for path in sorted(self.parts.glob("*.safetensors")):
            try:
                header, arrays = read_arrays(path, PARTS)
            except ScoresError:
                continue  # truncated or damaged: computed again
            if header["fingerprint"] == self.fingerprint:
                found.append(arrays)
        return found

    def _joined(self) -> Features:
        arrays = _concatenated(self._loaded())
        order = np.argsort(arrays["clip"], kind="stable")
        rows = {name: values[order] for name, values in arrays.items()}
        return Features(
            ids=list(self.clips.ids),
            labels={head: np.asarray(values, np.int64) for head, values in self.clips.labels.items()},
            config=self.frozen.config,
            checkpoint=str(self.path),
            weights=self.weights,
            split=self.split,
            stride=self.options.stride,
            values=rows["values"],
            clip=rows["clip"],
            start=rows["start"],
            end=rows["end"],
        )


def _concatenated(parts: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
