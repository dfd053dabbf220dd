"""Overview of a data set as `prep` reads it, before anything is decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tdpn_core.datasets import Dataset, Understanding
from tdpn_core.datasets.clip_table import SPLITS
from tdpn_core.datasets.splits import split_of_folder
from tdpn_core.prep.duplicates import by_content, by_name, on_one_side, pair_up, without_validation
from tdpn_core.sampling.label_flips import flip_swaps
from tdpn_core.shards.manifest import Twin
from tdpn_core.wording import agree, counted

_NAMED = 5
_OWN = ("folder", "list", "segments")  # users' own data sets, whose classes are not known beforehand


@dataclass(frozen=True, kw_only=True)
class Overview:
    """A data set as read."""

    dataset: str
    root: str
    read: Understanding
    """Files, columns, classes and counts."""

    drawn: bool
    """Whether we drew the split between training and validation."""

    per_class: dict[str, dict[str, int]]
    """Number of clips by class of the first head and split."""

    flip_pairs: list[tuple[str, str]]
    """Classes that swap under a horizontal flip."""

    unflippable: list[str]
    """Classes that name a side and have no mirror class: their clips are not flipped in training."""

    twins: list[Twin]
    """Clips that are probably copies of others, by name or content, those across the split first."""

    nonsense: list[str]
    """Probable mistakes: packing asks for confirmation."""

    doubts: list[str]
    """Possible mistakes, worth checking."""


def overview(table: Dataset) -> Overview:
    """Return the overview of a table; if we draw the split, with twins on one side."""
    pairs = by_content(table)
    drawn = on_one_side(table, pairs)
    ids, splits = drawn.clips["id"].tolist(), drawn.clips["split"].tolist()
    named = drawn.class_names(next(iter(drawn.classes)))
    counts = Counter((name, split) for names, split in zip(named, splits, strict=True) for name in names)
    there = [split for split in SPLITS if split in set(splits)]
    first = next(iter(drawn.classes.values()))
    per_class = {name: {split: counts[name, split] for split in there} for name in first}
    swapped, alone = _flips(drawn)
    return Overview(
        dataset=drawn.name,
        root=str(drawn.root),
        read=drawn.understanding,
        drawn=bool(drawn.groups),
        per_class=per_class,
        flip_pairs=swapped,
        unflippable=alone,
        twins=pair_up([*pairs, *by_name(drawn)], dict(zip(ids, splits, strict=True))),
        nonsense=_nonsense(drawn, first),
        doubts=[*_doubts(per_class), *without_validation(drawn)],
    )


def plain_values(seen: Overview) -> dict[str, Any]:
    """Return an overview for `--json`."""
    values = asdict(seen)
    read = values.pop("read")
    read["annotations"] = [str(path) for path in seen.read.annotations]
    read["odd_lines"] = [str(line) for line in seen.read.odd_lines]
    return {**values, **read}


def _flips(table: Dataset) -> tuple[list[tuple[str, str]], list[str]]:
    pairs, alone = [], []
    for names in table.classes.values():
        flips = flip_swaps(names)
        pairs += [(names[one], names[other]) for one, other in flips.swaps.items() if one < other]
        alone += [names[label] for label in sorted(flips.unflippable)]
    return pairs, alone


def _nonsense(table: Dataset, names: Sequence[str]) -> list[str]:
    if table.name not in _OWN:
        return []
    found = []
    called = [name for name in names if split_of_folder(name)]
    if called:
        found.append(
            f"{_some(called)}: a class with the name of a split; a class folder belongs inside the split's folder"
        )
    if (
        len(names) == 1 and len(table.classes) == 1 and not table.multilabel
    ):  # several labels: the class is there or not
        found.append(f"there is only one class, {names[0]!r}: nothing to distinguish")
    return found


def _doubts(per_class: dict[str, dict[str, int]]) -> list[str]:
    found = []
    single = [name for name, counts in per_class.items() if sum(counts.values()) == 1]
    if single:
        have = agree(len(single), "has", "have")
        found.append(
            f"{len(single)} of {counted(len(per_class), 'class', 'classes')} {have} a single clip: {_some(single)}"
        )
    untrained = [name for name, counts in per_class.items() if sum(counts.values()) and not counts.get("train")]
    if untrained:
        have = agree(len(untrained), "has", "have")
        classes = f"{len(untrained)} of {counted(len(per_class), 'class', 'classes')}"
        found.append(f"{classes} {have} no training clip: {_some(untrained)}")
    return found


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
