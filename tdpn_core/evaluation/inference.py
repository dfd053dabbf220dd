"""Score clips with a network: logits for every class and view, several clips per batch.

Clips are assigned to batches once, by their number and that of their views. A batch is scored completely or not at
all, by any process and after any interruption, so that a clip's scores are always bit-identical.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tdpn_core.config.schema import RunConfig, SamplingConfig, parse_views
from tdpn_core.errors import ClipError, ShardError, TdpnError
from tdpn_core.evaluation.score_file import mean_probabilities
from tdpn_core.model.base import Network
from tdpn_core.model.precision import Asked, scoring_precision
from tdpn_core.progress import SILENT, Progress
from tdpn_core.sampling.clip_source import ClipSource
from tdpn_core.sampling.dataset import Sample, ViewClips
from tdpn_core.sampling.loader import WORKER_TIMEOUT
from tdpn_core.sampling.transforms import normalise
from tdpn_core.sampling.worker_loader import WorkerLoader

Probabilities = dict[str, npt.NDArray[np.float64]]
"""For each head, an array (clips, classes) whose rows sum to one, except for multi-label data."""

VIEWS_AT_ONCE = {"cpu": 8, "cuda": 32}
"""Views per forward pass, by kind of device: bounds memory for any number of views per clip."""


class ScoredClips(NamedTuple):
    """Some clips and their scores."""

    clips: list[int]
    """(n,) numbers in the source."""

    logits: dict[str, npt.NDArray[np.floating]]
    """By head, (n, views, classes); no heads if there are no clips."""

    missing: dict[int, str]
    """Unreadable clips, and the reasons."""


class _Unread(NamedTuple):
    """A clip that could not be read."""

    number: int
    reason: str


def score_split(
    model: Network,
    clips: ClipSource,
    config: RunConfig,
    *,
    views: str,
    workers: int,
    rank: int = 0,
    world: int = 1,
    progress: Progress = SILENT,
) -> Probabilities:
    """Return the mean probabilities over the views of each clip, in the order of `clips`; each is scored once.

    The model is switched to eval mode and back. With `world` processes, process `rank` scores every `world`-th batch,
    starting at batch `rank`; rows of other clips are NaN.

    Raises:
        ShardError, ClipError: a clip cannot be read; the message names it, and there are no scores.
    """
    dataset = ViewClips(clips, config.model, replace(config.sampling, views=views))
    heads = config.model.num_classes
    result = {head: np.full((len(dataset), classes), np.nan) for head, classes in heads.items()}
    progress.begin(f"scoring, {views} views", len(dataset))
    try:
        own = batch_clips(len(dataset), views)[rank::world]
        for batch in score_clips(model, dataset, own, workers=workers, precision=config.train.precision):
            for head, logits in batch.logits.items():
                result[head][batch.clips] = mean_probabilities(logits, multilabel=config.data.multilabel)
            progress.advance(len(batch.clips))
    finally:
        progress.end()
    return result


def batch_clips(clips: int, views: str, views_at_once: int = VIEWS_AT_ONCE["cpu"]) -> list[list[int]]:
    """Assign `clips` clips to batches of `views_at_once` views each, or of one clip if that has more views."""
    times, crops = parse_views(views)
    size = max(1, views_at_once // (times * crops))
    return [list(range(start, min(start + size, clips))) for start in range(0, clips, size)]


def score_clips(
    model: Network,
    dataset: ViewClips,
    batches: Sequence[list[int]],
    *,
    workers: int,
    views_at_once: int = VIEWS_AT_ONCE["cpu"],
    tolerant: bool = False,
    precision: Asked = "auto",
) -> Iterator[ScoredClips]:
    """Score `batches` of clips one after another. The model is switched to eval mode and back.

    With `tolerant`, unreadable clips are reported as missing instead of raising. `precision` is that of the run: a GPU
    uses autocast unless it is float32.

    Raises:
        ShardError, ClipError: a clip cannot be read; the message names it.
        TdpnError: a score is not finite; the message names the clip.
    """
    if not batches:
        return
    pin = next(model.parameters()).device.type == "cuda"
    ids = dataset.source.ids
    source = _Reader(dataset, tolerant)
    loader = WorkerLoader(source, ids, batches, list, workers=workers, pin=pin, timeout=WORKER_TIMEOUT)
    with _evaluating(model):
        for items in loader:
            read = [item for item in items if isinstance(item, Sample)]
            missing = {item.number: item.reason for item in items if isinstance(item, _Unread)}
            logits = _by_shape([item.clip for item in read], model, dataset.sampling, views_at_once, precision)
            _check_finite(logits, [ids[item.number] for item in read])
            yield ScoredClips([item.number for item in read], logits, missing)


@torch.inference_mode()
def view_logits(
    model: Network,
    views: Tensor,
    sampling: SamplingConfig,
    views_at_once: int = VIEWS_AT_ONCE["cpu"],
    precision: Asked = "auto",
) -> dict[str, Tensor]:
    """Return logits of each view by head, float32 (V, classes) on the CPU, from uint8 views (V, 3, T, H, W).

    The model must be in eval mode. A GPU uses autocast unless `precision` is float32.
    """
    device = next(model.parameters()).device
    autocast = scoring_precision(precision, device).autocast
    parts: dict[str, list[Tensor]] = {}
    for chunk in views.split(views_at_once):
        clips = normalise(chunk.to(device, non_blocking=True), sampling)
        with autocast():
            logits = model(clips)
        by_head = logits if isinstance(logits, Mapping) else dict.fromkeys(model.config.num_classes, logits)
        for head, values in by_head.items():
            parts.setdefault(head, []).append(values)
    return {head: torch.cat(values).float().cpu() for head, values in parts.items()}


def view_probabilities(
    model: Network, views: Tensor, config: RunConfig, precision: Asked = "auto"
) -> dict[str, Tensor]:
    """Return the probabilities of `view_logits`: float64 (V, classes) on the CPU."""
    logits = view_logits(model, views, config.sampling, precision=precision)
    return {head: probabilities(values.double(), multilabel=config.data.multilabel) for head, values in logits.items()}


def probabilities(logits: Tensor, *, multilabel: bool) -> Tensor:
    """Return probabilities from logits (N, classes): the softmax, or in multi-label data each class's sigmoid."""
    return logits.sigmoid() if multilabel else logits.softmax(dim=1)


def _by_shape(
    clips: list[Tensor], model: Network, sampling: SamplingConfig, views_at_once: int, precision: Asked
) -> dict[str, npt.NDArray[np.floating]]:
    """Return scores (n, views, classes) of clips (views, 3, T, H, W), processing those of one size together."""
    rows: dict[str, dict[int, npt.NDArray[np.floating]]] = {}
    for shape in dict.fromkeys(clip.shape for clip in clips):
        same = [number for number, clip in enumerate(clips) if clip.shape == shape]
        views = torch.cat([clips[number] for number in same])
        for head, values in view_logits(model, views, sampling, views_at_once, precision).items():
            rows.setdefault(head, {}).update(zip(same, values.unflatten(0, (len(same), -1)).numpy(), strict=True))
    return {head: np.stack([values[number] for number in range(len(clips))]) for head, values in rows.items()}


def _check_finite(logits: Mapping[str, npt.NDArray[np.floating]], ids: Sequence[str]) -> None:
    for head, values in logits.items():
        broken = np.flatnonzero(~np.isfinite(values).all(axis=(1, 2)))
        if len(broken):
            hint = "the weights or the clip's pixels are invalid"
            raise TdpnError(f"the network's {head} scores are not finite", where=ids[int(broken[0])], hint=hint)


@contextmanager
def _evaluating(model: Network) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


class _Reader(Dataset["Sample | _Unread"]):
    """`ViewClips` that returns the reason for an unreadable clip if `tolerant`."""

    def __init__(self, dataset: ViewClips, tolerant: bool) -> None:
        self._dataset = dataset
        self._tolerant = tolerant

    def __getitem__(self, clip: int) -> Sample | _Unread:
        try:
            return self._dataset[clip]
        except (ClipError, ShardError) as error:
            if not self._tolerant:
                raise
            return _Unread(clip, str(error))
