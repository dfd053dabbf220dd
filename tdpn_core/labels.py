"""Labels of clips in memory: one class per clip, or any number of classes in multi-label data.

With one class per clip, labels are (N,): the class, or -1 for an unlabelled clip. In multi-label data they are (N, C):
1 for each class of the clip and 0 for the others, or -1 in the entire row of an unlabelled clip. The number of
dimensions tells which.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

UNLABELLED = -1

Labels = npt.NDArray[np.int64]
"""(N,) or (N, C), as above."""

Label = int | tuple[int, ...]
"""Label of one clip: a class or -1; in multi-label data its classes in ascending order, or (-1,) if unlabelled."""


METRIC_TITLES = {"map": "mAP", "top1": "top-1"}
"""Titles of the metrics that rank epochs and rows of an ablation: mAP for multi-label data."""


def is_multilabel(labels: npt.NDArray[Any]) -> bool:
    """Return whether labels are those of multi-label data."""
    return labels.ndim == 2


def known(labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return (N,) whether each clip is labelled; a clip that belongs to none of the classes is."""
    inside: npt.NDArray[np.bool_] = (labels[:, 0] if is_multilabel(labels) else labels) >= 0
    return inside


def clips_per_class(labels: npt.NDArray[Any], classes: int) -> Labels:
    """Return (classes,) the number of clips of each class; values that are not classes are ignored."""
    if is_multilabel(labels):
        counts: Labels = (labels == 1).sum(axis=0)
        return counts
    return np.bincount(labels[(labels >= 0) & (labels < classes)], minlength=classes)


def classes_of(labels: npt.NDArray[Any], clip: int) -> list[int]:
    """Return the classes of a clip; empty if it has none or is unlabelled."""
    if is_multilabel(labels):
        return np.flatnonzero(labels[clip] == 1).tolist()
    label = int(labels[clip])
    return [] if label == UNLABELLED else [label]


def first_classes(labels: npt.NDArray[Any]) -> Labels:
    """Return (N,) one class of each clip, the first in label order; -1 without one."""
    if not is_multilabel(labels):
        return labels
    own = labels == 1
    return np.where(own.any(axis=1), own.argmax(axis=1), UNLABELLED)


def to_rows(labels: Iterable[Sequence[int]], classes: int) -> npt.NDArray[np.int8]:
    """Return (N, classes) of multi-label clips, each given by its classes."""
    rows = [list(own) for own in labels]
    values = np.zeros((len(rows), classes), np.int8)
    for row, own in zip(values, rows, strict=True):
        row[:] = UNLABELLED if own == [UNLABELLED] else 0
        row[[label for label in own if label >= 0]] = 1
    return values


def from_row(value: Any) -> Label:
    """Return the label of a clip from its element of (N,) or its row of (N, C)."""
    if np.ndim(value) == 0:
        return int(value)
    row = np.asarray(value)
    return (UNLABELLED,) if row[0] < 0 else tuple(np.flatnonzero(row == 1).tolist())


def as_label(value: Any) -> Label:
    """Return a label from a cell of the table of clips or from JSON: an integer or a sequence of them."""
    return tuple(map(int, value)) if isinstance(value, (tuple, list)) else int(value)
