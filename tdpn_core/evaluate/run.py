"""Evaluate a checkpoint on the data that it names, and leave a report."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from tdpn_core.checkpoint import load_checkpoint
from tdpn_core.config import RunConfig
from tdpn_core.errors import CheckpointError, UsageError
from tdpn_core.evaluate.metrics import Metrics, measure
from tdpn_core.evaluate.scores import Probabilities, score_split
from tdpn_core.progress import SILENT, Progress
from tdpn_core.runtime import Runtime
from tdpn_core.sampling.loader import loader_workers
from tdpn_core.shards import ClipStore


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a checkpoint is worth on a split."""

    checkpoint: Path
    config: RunConfig
    data: Path
    split: str
    views: str
    clips: int
    """Clips scored: all of the split that carry a label."""

    rejected: int
    """Clips of the data set, over all splits, that preparation could not decode; no score includes them."""

    seconds: float
    heads: dict[str, Metrics]
    ids: list[str]
    """Names of the scored clips."""

    labels: dict[str, list[int]]
    probabilities: Probabilities
    """For each head, (clips, classes), in the order of `ids`."""


def evaluate(
    path: Path,
    *,
    runtime: Runtime,
    data: Path | None = None,
    split: str = "val",
    views: str | None = None,
    topk: tuple[int, ...] = (1, 5),
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Evaluation:
    """Score every clip of `split` with the checkpoint at `path`.

    Data, classes, sampling, sizes and `views` are the checkpoint's own unless given.

    Raises:
        CheckpointError: damaged, or trained on other classes or another order of them than the data has.
        UsageError: the split is empty, or carries no labels.
        ShardError, ClipError: a clip cannot be read; there is no result without it.
    """
    checkpoint = load_checkpoint(path)
    config = checkpoint.config
    folder = data or Path(config.data.path)
    clips = _matching(ClipStore(folder, split), config, path)
    if len(clips) == 0:
        raise UsageError(f"the split {split!r} has no clips", where=folder, hint="choose another --split")
    model = checkpoint.build(runtime.device)
    began = time.perf_counter()
    chosen = views or config.sampling.views
    count = loader_workers(runtime.device_type) if workers is None else workers
    probabilities = score_split(model, clips, config, views=chosen, workers=count, progress=progress)
    labels = clips.labels
    heads = {
        head: measure(values, labels[head], ids=clips.ids, classes=clips.classes[head], topk=topk)
        for head, values in probabilities.items()
    }
    return Evaluation(
        checkpoint=path,
        config=config,
        data=folder,
        split=split,
        views=chosen,
        clips=len(clips),
        rejected=clips.manifest.left_out.get(split, 0),
        seconds=time.perf_counter() - began,
        heads=heads,
        ids=list(clips.ids),
        labels={head: values.tolist() for head, values in labels.items()},
        probabilities=probabilities,
    )


def _matching(clips: ClipStore, config: RunConfig, path: Path) -> ClipStore:
    """`clips`, if their labels mean what the checkpoint's outputs mean: scored otherwise, a number would be wrong."""
    if clips.manifest.classes_digest != config.data.classes_digest:
        known, present = config.data.classes, clips.classes
        same = {head: sorted(names) for head, names in known.items()} == {
            head: sorted(names) for head, names in present.items()
        }
        what = "the same classes in another order" if same else "other classes"
        raise CheckpointError(
            f"trained on {what} than {clips.manifest.dataset} has",
            where=path,
            hint="evaluate on data prepared with the checkpoint's own classes",
        )
    return clips
