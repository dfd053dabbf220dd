"""Official EPIC-KITCHENS metrics: verb, noun and action, on all clips, unseen participants and tail classes.

An action is a pair of verb and noun. Its score is the product of their probabilities, over the 100 most likely verbs
and the 100 most likely nouns of a clip (Damen et al., "Rescaling Egocentric Vision", 2022).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tdpn_core.datasets.registry import DATASETS
from tdpn_core.evaluation.metrics import Interval, label_ranks, share_interval

TASKS = ("verb", "noun", "action")
BEST = 100
"""Number of verbs and nouns combined, and of actions ranked."""

Subsets = Mapping[str, Mapping[str, Sequence[str]] | Mapping[str, Sequence[int]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpicRow:
    """Results of one task on one subset of the clips."""

    part: str
    """`all`, `unseen` (participants without training clips) or `tail` (rare classes)."""

    task: str
    clips: int
    top1: float
    top5: float
    top1_interval: Interval


def has_subset_lists(dataset: str) -> bool:
    """Return whether the data set comes with lists of unseen participants and tail classes."""
    spec = DATASETS.get(dataset)
    return spec is not None and spec.has_subset_lists


def is_epic(heads: Sequence[str]) -> bool:
    """Return whether a network with these heads predicts verbs and nouns."""
    return set(heads) == {"verb", "noun"}


def measure_epic(
    probabilities: Mapping[str, npt.NDArray[np.floating]],
    labels: Mapping[str, npt.NDArray[np.int64]],
    ids: Sequence[str],
    subsets: Subsets,
    split: str,
) -> list[EpicRow]:
    """Compute the rows of the official table on the clips with both labels; subsets without clips have no row.

    Ties are resolved for the lower class, for actions the lower verb, then the lower noun. A clip is in the tail of
    verbs or nouns by its own class, and in that of actions if either is in the tail.
    """
    known = (labels["verb"] >= 0) & (labels["noun"] >= 0)
    verb, noun = labels["verb"][known], labels["noun"][known]
    verbs, nouns = probabilities["verb"][known], probabilities["noun"][known]
    ranks = {
        "verb": label_ranks(verbs, verb),
        "noun": label_ranks(nouns, noun),
        "action": action_ranks(verbs, nouns, verb, noun),
    }
    names = [name for name, is_known in zip(ids, known, strict=True) if is_known]
    rows = []
    for part, chosen in _parts(names, verb, noun, subsets, split).items():
        for task in TASKS:
            own = ranks[task][chosen[task]]
            if len(own):
                rows.append(_row(part, task, own))
    return rows


def action_ranks(
    verbs: npt.NDArray[np.floating],
    nouns: npt.NDArray[np.floating],
    verb: npt.NDArray[np.int64],
    noun: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Return the rank (clips,) of each clip's action, starting at 0; `BEST` if it is not ranked.

    Args:
        verbs: probabilities (clips, verbs).
        nouns: probabilities (clips, nouns).
        verb: labels (clips,).
        noun: labels (clips,).
    """
    ranks = np.full(len(verb), BEST)
    for clip in range(len(verb)):
        rows, columns = _best(verbs[clip]), _best(nouns[clip])
        row, column = np.flatnonzero(rows == verb[clip]), np.flatnonzero(columns == noun[clip])
        if len(row) and len(column):
            scores = np.outer(verbs[clip, rows], nouns[clip, columns]).ravel()
            own = int(row[0]) * len(columns) + int(column[0])
            better = (scores > scores[own]).sum() + (scores[:own] == scores[own]).sum()
            ranks[clip] = min(int(better), BEST)
    return ranks


def _best(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Return the `BEST` most likely classes in label order, which resolves ties between products."""
    best: npt.NDArray[np.int64] = np.sort(np.argsort(-probabilities, kind="stable")[:BEST])
    return best


def _parts(
    ids: Sequence[str],
    verb: npt.NDArray[np.int64],
    noun: npt.NDArray[np.int64],
    subsets: Subsets,
    split: str,
) -> dict[str, dict[str, npt.NDArray[np.bool_]]]:
    """Return which clips belong to each subset and task."""
    parts = {"all": dict.fromkeys(TASKS, np.ones(len(ids), bool))}
    unseen = subsets.get("unseen", {})
    if split in unseen:
        apart = set(unseen[split])
        parts["unseen"] = dict.fromkeys(TASKS, np.array([name in apart for name in ids], bool))
    tail = subsets.get("tail", {})
    if "verb" in tail and "noun" in tail:
        rare_verb, rare_noun = _among(verb, tail["verb"]), _among(noun, tail["noun"])
        parts["tail"] = {"verb": rare_verb, "noun": rare_noun, "action": rare_verb | rare_noun}
    return parts


def _among(labels: npt.NDArray[np.int64], some: Sequence[str] | Sequence[int]) -> npt.NDArray[np.bool_]:
    return np.isin(labels, np.array([int(label) for label in some], dtype=np.int64))


def _row(part: str, task: str, ranks: npt.NDArray[np.int64]) -> EpicRow:
    clips, first = len(ranks), int((ranks < 1).sum())
    interval = share_interval(first, clips)
    top5 = float((ranks < 5).mean())
    return EpicRow(part=part, task=task, clips=clips, top1=first / clips, top5=top5, top1_interval=interval)
