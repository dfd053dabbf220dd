"""PyTorch data sets of clips: a random clip of each video for training, fixed views for testing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tdpn_core.config.schema import ModelConfig, SamplingConfig, parse_views, whole_frames
from tdpn_core.errors import ClipError, DatasetError
from tdpn_core.labels import classes_of, is_multilabel, known
from tdpn_core.rng import derive
from tdpn_core.sampling import transforms as pixels
from tdpn_core.sampling.clip_source import ClipSource
from tdpn_core.sampling.crops import Crop, random_crop
from tdpn_core.sampling.frame_indices import Indices, training_indices, view_indices, with_window
from tdpn_core.sampling.label_flips import Flips, flip_swaps

SampleLabel = int | npt.NDArray[np.int64]
"""An element or a row of `Labels`."""


class Sample(NamedTuple):
    """One item of a data set."""

    clip: Tensor
    """uint8: (C, T * window, S, S) in training, (views, C, T * window, S, S) in testing, or H, W of whole frames.

    C is 3 (RGB) or 2 (optical flow)."""

    labels: dict[str, SampleLabel]
    """The class of each head; in multi-label data the row (C,) of each."""

    number: int
    """Number of the clip in the source."""

    visit: int = 0
    """How often the clip was seen in training before: the epoch, unless classes are balanced."""


class Draw(NamedTuple):
    """The frames and pixels of a clip that make up one training item."""

    frames: Indices
    """Distinct frames to read, in ascending order."""

    order: Indices
    """(T * window,): position in `frames` of each frame of the item."""

    crop: Crop
    flip: bool


class TrainingClips(Dataset[Sample]):
    """Random training clips: frames, crop and flip depend only on (seed, visit, clip).

    Items are indexed by `(visit, clip)`: how often the clip was seen before (the epoch), and its number.

    Raises:
        DatasetError: there is no clip, one lacks a label of some head, or a label is not a class.
    """

    def __init__(self, source: ClipSource, model: ModelConfig, sampling: SamplingConfig, seed: int) -> None:
        _check_frames(source)
        _check_labels(source)
        self.source = source
        self.model = model
        self.sampling = sampling
        self.seed = seed
        self.flips: dict[str, Flips] = {head: flip_swaps(names) for head, names in source.classes.items()}

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, item: tuple[int, int]) -> Sample:
        frames, order, crop, flip = self.draw(*item)
        visit, clip = item
        side = self.model.input_size
        resized = pixels.resize(pixels.cut(pixels.decode(self.source, clip, frames), crop), side, side)
        return Sample(pixels.arrange(resized, order, flip=flip), self._labels(clip, flip), clip, visit)

    def draw(self, visit: int, clip: int) -> Draw:
        """Return the random choices of an item."""
        rng = derive(self.seed, visit, clip)
        count = int(self.source.counts[clip])
        sampled = training_indices(count, self.model.num_frames, self.sampling, rng)
        frames, order = np.unique(with_window(sampled, count, self.model.frames_per_step), return_inverse=True)
        crop = random_crop(*self.source.size(clip), self.model.input_size, self.sampling, rng)
        flip = bool(rng.random() < self.sampling.flip) and self._flippable(clip)
        return Draw(frames, order, crop, flip)

    def _flippable(self, clip: int) -> bool:
        return all(
            flips.unflippable.isdisjoint(classes_of(self.source.labels[head], clip))
            for head, flips in self.flips.items()
        )

    def _labels(self, clip: int, flip: bool) -> dict[str, SampleLabel]:
        labels = _labels(self.source, clip)
        return {head: self.flips[head].mirrored(label) for head, label in labels.items()} if flip else labels


class ViewClips(Dataset[Sample]):
    """Test views of each clip, ordered by clips in time, then crops in space. Items are indexed by clip.

    Raises:
        DatasetError: there is no clip.
    """

    def __init__(self, source: ClipSource, model: ModelConfig, sampling: SamplingConfig) -> None:
        _check_frames(source)
        self.source = source
        self.model = model
        self.sampling = sampling

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, clip: int) -> Sample:
        times, crops = parse_views(self.sampling.views)
        count = int(self.source.counts[clip])
        sampled = view_indices(count, self.model.num_frames, self.sampling, times)
        frames, order = np.unique(with_window(sampled, count, self.model.frames_per_step), return_inverse=True)
        order = order.reshape(times, -1)
        decoded = pixels.decode(self.source, clip, frames)
        if whole_frames(self.sampling.views):
            cropped = [pixels.whole(decoded, self.sampling, self.model.input_size)]
        else:
            cropped = pixels.view_crops(decoded, crops, self.sampling, self.model.input_size)
        height, width = cropped[0].shape[-2:]
        views = torch.empty((times, crops, self.model.channels, order.shape[1], height, width), dtype=torch.uint8)
        for time in range(times):
            for crop in range(crops):
                pixels.arrange(cropped[crop], order[time], out=views[time, crop])
        return Sample(views.flatten(0, 1), _labels(self.source, clip), clip)


def _labels(source: ClipSource, clip: int) -> dict[str, SampleLabel]:
    return {
        head: labels[clip] if is_multilabel(labels) else int(labels[clip]) for head, labels in source.labels.items()
    }


def _check_frames(source: ClipSource) -> None:
    if len(source) == 0:
        raise DatasetError("there is no clip", hint="prepare a data set whose split is not empty")
    empty = np.flatnonzero(source.counts < 1)
    if len(empty):
        raise ClipError("the clip has no frames", where=source.ids[int(empty[0])])


def _check_labels(source: ClipSource) -> None:
    for head, labels in source.labels.items():
        if is_multilabel(labels):  # rows of as many values as classes
            continue
        wrong = np.flatnonzero((labels < -1) | (labels >= len(source.classes[head])))
        if len(wrong):
            what = f"{head} label {labels[wrong[0]]} is not among the {len(source.classes[head])} classes"
            raise DatasetError(what, where=source.ids[int(wrong[0])])
    unlabelled = np.flatnonzero(np.all([~known(labels) for labels in source.labels.values()], axis=0))
    if len(unlabelled):
        what = f"{len(unlabelled)} clips have no label and cannot be trained on, this one first"
        raise DatasetError(what, where=source.ids[int(unlabelled[0])])
