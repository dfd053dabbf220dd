"""Split clips into training and validation so that clips of one recording stay together.

Clips cut from one video, or showing one person in one room, are near copies: with some of them on each side, a
validation accuracy says nothing. Where the names tell which clips belong together, they do.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from tdpn_core.randomness import derive_seed

VAL_SHARE = 0.2

_CODE = re.compile(r"(?:[A-Z]{1,2}\d+){3,}(?![A-Za-z0-9])")  # NTU's S001C001P001R001A001, or PS7A1P3T2
_PERSON_CODE = re.compile(r"P\d+")
_PERSON = re.compile(r"(?:(?:person|subject|subj|actor)[_ -]?\d+|P\d+)(?=[_ .-])", re.IGNORECASE)
_UCF = re.compile(r"_(g\d+)_c\d+$")
_HMDB = re.compile(r"_[fhul]_(?:nm|cm)_np\d+_(?:fr|ba|le|ri)_(?:goo|med|bad)_\d+$")
_YOUTUBE = re.compile(r"([\w-]{11})_\d{6}_\d{6}")
_TAKE = re.compile(r"[_\-. ]+(?:take|part|clip|cut|scene)?[_\-. ]?\(?\d{1,4}\)?$", re.IGNORECASE)
_MIN_SOURCES = 4  # fewer, and what looked like a source's name is more likely a common prefix


@dataclass(frozen=True)
class Grouping:
    """Which clips belong together."""

    groups: list[str]
    """Of each file."""

    unknown: list[str]
    """Classes whose names tell nothing, so that every file stands alone."""


def find_groups(files: Sequence[PurePath], classes: Sequence[str]) -> Grouping:
    """Recognise the sources of files.

    Args:
        files: paths within their class folders.
        classes: the class folder of each file.
    """
    stated = [_stated_group(file.stem, label) for file, label in zip(files, classes, strict=True)]
    members = defaultdict(list)
    for index, label in enumerate(classes):
        members[label].append(index)
    groups: list[str] = [""] * len(files)
    unknown = []
    for label, indices in sorted(members.items()):
        left = [index for index in indices if stated[index] is None]
        guessed = _guessed_sources([files[index] for index in left])
        if left and guessed is None:
            unknown.append(label)
        for index in indices:
            groups[index] = stated[index] or f"file {label}/{files[index]}"
        for index, source in zip(left, guessed or (), strict=False):
            groups[index] = f"source {label}/{source}"
    return Grouping(groups, unknown)


def split_groups(groups: Sequence[str], classes: Sequence[str], seed: int, share: float = VAL_SHARE) -> list[str]:
    """`train` or `val` for each clip: no group on both sides, about `share` of each class in `val`.

    A class with two groups or more has clips on both sides wherever the groups allow it. The order in which groups are
    drawn depends on their names and `seed` alone, so that a few new files move few old ones.
    """
    content: dict[str, Counter[str]] = defaultdict(Counter)
    for group, label in zip(groups, classes, strict=True):
        content[group][label] += 1
    totals = Counter(classes)
    order = sorted(content, key=lambda group: (derive_seed(seed, _number(group)), group))
    held: Counter[str] = Counter()
    chosen = set()
    for group in order:
        labels = content[group]
        wanted = sum(min(count, round(totals[label] * share) - held[label]) for label, count in labels.items())
        if wanted > 0 and wanted * 2 >= labels.total() and _leaves_training(labels, held, totals):
            chosen.add(group)
            held.update(labels)
    for label in sorted(totals):
        if not held[label]:
            smallest = _smallest(label, order, content, held, totals, chosen)
            if smallest is not None:
                chosen.add(smallest)
                held.update(content[smallest])
    return ["val" if group in chosen else "train" for group in groups]


def _stated_group(stem: str, label: str) -> str | None:
    """The group that a known convention of names states; a person is one across all classes."""
    if (code := _CODE.match(stem)) and (person := _PERSON_CODE.search(code[0], 1)):
        return f"person {person[0]}"
    if person := _PERSON.match(stem):
        return f"person {person[0].lower()}"
    if ucf := _UCF.search(stem):
        return f"source {label}/{ucf[1]}"
    if hmdb := _HMDB.search(stem):
        return f"source {stem[: hmdb.start()]}"
    if youtube := _YOUTUBE.fullmatch(stem):
        return f"video {youtube[1]}"
    return None


def _guessed_sources(files: Sequence[PurePath]) -> list[str] | None:
    """Sub-folders, or names without a trailing take number, if they look like the names of sources."""
    for sources in ([str(file.parent) for file in files], [_TAKE.sub("", file.stem) for file in files]):
        counts = Counter(sources)
        if len(counts) >= _MIN_SOURCES and 1 < max(counts.values()) <= len(files) / 2:
            return sources
    return None


def _leaves_training(labels: Mapping[str, int], held: Mapping[str, int], totals: Mapping[str, int]) -> bool:
    return all(held[label] + count < totals[label] for label, count in labels.items())


def _smallest(
    label: str,
    order: Sequence[str],
    content: Mapping[str, Counter[str]],
    held: Counter[str],
    totals: Counter[str],
    chosen: set[str],
) -> str | None:
    """The smallest group that gives `label` a validation clip and takes no class's last training clip."""
    possible = [
        group
        for group in order
        if group not in chosen and content[group][label] and _leaves_training(content[group], held, totals)
    ]
    return min(possible, key=lambda group: content[group].total(), default=None)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:8], "big")
