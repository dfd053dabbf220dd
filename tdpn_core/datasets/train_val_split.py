"""Split clips into training and validation so that clips of one recording stay together.

Clips cut from one video, or showing one person in one room, are nearly copies: if they are on both sides, the
validation accuracy is meaningless. They are kept together if their names identify the recording.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tdpn_core.datasets.scan import stem, suffix
from tdpn_core.rng import derive_seed
from tdpn_core.wording import agree, counted

VAL_SHARE = 0.2

DRAWN = "no validation split:"
"""How the note on a drawn split begins, so that the note on a later draw can replace it."""

_NAMED = 5

_CODE = re.compile(r"(?:[A-Z]{1,2}\d+){3,}(?![A-Za-z0-9])")  # NTU's S001C001P001R001A001, or PS7A1P3T2
_PERSON_CODE = re.compile(r"P\d+")
_PERSON = re.compile(r"(?:(?:person|subject|subj|actor)[_ -]?\d+|P\d+)(?=[_ .-])", re.IGNORECASE)
_UCF = re.compile(r"_(g\d+)_c\d+$")
_HMDB = re.compile(r"_[fhul]_(?:nm|cm)_np\d+_(?:fr|ba|le|ri)_(?:goo|med|bad)_\d+$")
_YOUTUBE = re.compile(r"([\w-]{11})_\d{6}_\d{6}")
_GOPRO = re.compile(r"(?:G[HXP]\d\d|GOPR)(\d{4})(?![A-Za-z0-9])", re.IGNORECASE)  # chapters GX010123, GX020123
_TAKE = re.compile(r"[_\-. ]+(?:take|part|clip|cut|scene)?[_\-. ]?\(?\d{1,4}\)?$", re.IGNORECASE)
_MIN_SOURCES = 4  # if fewer, an apparent source name is more likely a common prefix

_CHANGES = (
    "[hv]?[_-]?flipped|[hv]_?flip|mirror(?:ed)?|rotated?|rot\\d+|aug(?:mented|mentation)?|copy|copie|kopie|copia|"
    "duplicated?|dup|bright(?:ness|ened)|darkened|contrast|grayscale|greyscale|noisy?|blur(?:red)?|jitter(?:ed)?"
)
_CONTAINER = re.compile(r"\.(?:mp4|m4v|mov|mkv|webm|avi|mpe?g|wmv|flv|mts|ts|3gp|gif)$", re.IGNORECASE)
_CHANGED = re.compile(rf"[_\-. ]+(?:{_CHANGES})[_\-. ]?\d*(?:[_\-. ]*\(\d{{1,3}}\))?$", re.IGNORECASE)
_BEFORE = re.compile(rf"^(?:copy of|flip|(?:{_CHANGES})\d*)[_\-. ]+", re.IGNORECASE)
_NUMBERED = re.compile(r"[_\-. ]?\(\d{1,3}\)$")
_WORDS = re.compile(r"[_\-. ]+(?=[A-Za-z])")
_MOST_COPIES = 5  # copies of one name with unknown suffixes; if more, the name is a common prefix


@dataclass(frozen=True)
class Grouping:
    """Which clips belong together."""

    groups: list[str]
    """Group of each file."""

    unknown: list[str]
    """Classes whose names identify no groups, so that every file is its own group."""


def find_groups(files: Sequence[str], classes: Sequence[str]) -> Grouping:
    """Determine the source groups of files.

    Args:
        files: paths within their class folders, with `/` between folders.
        classes: class folder of each file.
    """
    originals = find_originals(files, classes)
    stated = [_stated_group(stem(file), label) for file, label in zip(originals, classes, strict=True)]
    members = defaultdict(list)
    for index, label in enumerate(classes):
        members[label].append(index)
    groups: list[str] = [""] * len(files)
    unknown = []
    for label, indices in sorted(members.items()):
        left = [index for index in indices if stated[index] is None]
        guessed = _guessed_sources([originals[index] for index in left])
        if left and guessed is None:
            unknown.append(label)
        for index in indices:
            groups[index] = stated[index] or f"file {label}/{originals[index]}"
        for index, source in zip(left, guessed or (), strict=False):
            groups[index] = f"source {label}/{source}"
    return Grouping(groups, unknown)


def find_originals(files: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Return the file that each file is a copy of, by its name; the file itself if it is not a copy.

    `X_flipped.mp4`, `X.mp4.mp4`, `X - Copy.mp4`, `mirror_X.mp4` and `X_aug3.mp4` are copies of `X.mp4` of the same
    class, even if that does not exist. `X(1).mp4` and `X_anything.mp4` are copies if `X.mp4` exists and at most five
    files extend its name. Of several files of one name (for example in the folders of the splits), a copy belongs to
    the one in its own folder, or else to the first.

    Args:
        files: paths with `/` between folders.
        classes: class of each file.
    """
    plain: dict[tuple[str, str], list[str]] = defaultdict(list)
    bare = [_unchanged(stem(file)) for file in files]
    for file, label, name in zip(files, classes, bare, strict=True):
        if name == stem(file):
            plain[label, name].append(file)
    bases = [
        next((short for short in _shorter(name) if (label, short) in plain), name)
        for label, name in zip(classes, bare, strict=True)
    ]
    extensions = Counter((label, base) for label, name, base in zip(classes, bare, bases, strict=True) if base != name)
    found = []
    for file, label, name, base in zip(files, classes, bare, bases, strict=True):
        original = base if extensions[label, base] <= _MOST_COPIES else name
        known = plain.get((label, original), [])
        found.append(file if original == stem(file) else _of_name(file, original, known))
    return found


def _of_name(copy: str, name: str, originals: Sequence[str]) -> str:
    """Return the original of a copy among those of its name; if there is none, the name in the copy's folder."""
    folder = copy[: copy.rfind("/") + 1]
    same = [file for file in originals if file[: file.rfind("/") + 1] == folder]
    return next(iter([*same, *originals]), f"{folder}{name}{suffix(copy)}")


def _unchanged(name: str) -> str:
    """Return a name without everything that indicates how a clip was modified or copied."""
    while True:
        shorter = name
        for pattern in (_CONTAINER, _CHANGED):
            shorter = pattern.sub("", shorter) or shorter
        if shorter == name:
            return name
        name = shorter


def _shorter(name: str) -> Iterator[str]:
    """Yield names that a name may extend: without a first word, a number in brackets, or the last words."""
    for short in (_BEFORE.sub("", name), _NUMBERED.sub("", name)):
        if short and short != name:
            yield _unchanged(short)
    for match in reversed(list(_WORDS.finditer(name))):
        if match.start():
            yield name[: match.start()]


def merge(groups: Sequence[str], pairs: Iterable[tuple[int, int]]) -> list[str]:
    """Return groups in which every pair of rows is together; joined groups have the first of their names."""
    root: dict[str, str] = {}

    def of(group: str) -> str:
        while group in root:
            group = root[group]
        return group

    for one, other in pairs:
        first, second = sorted((of(groups[one]), of(groups[other])))
        if first != second:
            root[second] = first
    return [of(group) for group in groups]


def draw_split(
    groups: Sequence[str], classes: Sequence[Sequence[str]], seed: int, *, noun: str = "clip", how: str = ""
) -> tuple[list[str], str]:
    """Return `train` or `val` for each clip as `split_groups` does, and a note on it.

    Args:
        groups: source group of each clip.
        classes: classes of each clip, any number of them.
        seed: seed of the draw.
        noun: what is drawn.
        how: see `drawn_note`.
    """
    pairs = [(row, name) for row, names in enumerate(classes) for name in names or ("",)]
    drawn = split_groups([groups[row] for row, _ in pairs], [name for _, name in pairs], seed)
    of_row = dict(zip((row for row, _ in pairs), drawn, strict=True))
    splits = [of_row[row] for row in range(len(groups))]
    return splits, drawn_note(splits, groups, classes, seed, noun=noun, how=how)


def split_groups(groups: Sequence[str], classes: Sequence[str], seed: int, share: float = VAL_SHARE) -> list[str]:
    """Return `train` or `val` for each clip: no group on both sides, about `share` of each class in `val`.

    A class with at least two groups has clips on both sides if the groups allow it. The order in which groups are drawn
    depends only on their names and `seed`, so that a few new files move few old ones.
    """
    members, names = _numbered(groups)
    labels, _ = _numbered(classes)
    content = _Content(members, labels)
    totals = np.bincount(labels).tolist()
    drawn = np.fromiter((derive_seed(seed, _number(name)) for name in names), np.int64, len(names))
    order = np.argsort(drawn, kind="stable").tolist()  # names are sorted, which resolves ties
    held = [0] * len(totals)
    chosen = np.zeros(len(names), dtype=bool)
    for group in order:
        inside = content[group]
        wanted = sum(min(count, round(totals[label] * share) - held[label]) for label, count in inside)
        if wanted > 0 and wanted * 2 >= sum(count for _, count in inside) and _leaves_training(inside, held, totals):
            chosen[group] = True
            _hold(inside, held)
    having: dict[int, list[int]] = {label: [] for label, count in enumerate(held) if not count}
    for group in order if having else ():
        for label, _ in content[group]:
            if label in having:
                having[label].append(group)
    for label, possible in having.items():
        if not held[label]:
            free = [group for group in possible if not chosen[group] and _leaves_training(content[group], held, totals)]
            if free:
                smallest = min(free, key=lambda group: sum(count for _, count in content[group]))
                chosen[smallest] = True
                _hold(content[smallest], held)
    return ["val" if held_out else "train" for held_out in chosen[members].tolist()]


class _Content:
    """Number of clips by class in a group; as arrays, since there may be one group per clip."""

    def __init__(self, members: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> None:
        classes = int(labels.max(initial=0)) + 1
        pairs, self._counts = np.unique(members * classes + labels, return_counts=True)
        self._labels = pairs % classes
        self._begins = np.searchsorted(pairs // classes, np.arange(int(members.max(initial=-1)) + 2))

    def __getitem__(self, group: int) -> list[tuple[int, int]]:
        """Return (class, number of clips) of a group."""
        part = slice(self._begins[group], self._begins[group + 1])
        return list(zip(self._labels[part].tolist(), self._counts[part].tolist(), strict=True))


def _numbered(names: Sequence[str]) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return the index of each name in the sorted names, and these."""
    known = sorted(set(names))
    number = {name: row for row, name in enumerate(known)}
    return np.fromiter((number[name] for name in names), np.int64, len(names)), known


def _stated_group(stem: str, label: str) -> str | None:
    """Return the group that a known naming convention contains; a person is one group across all classes."""
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
    if gopro := _GOPRO.match(stem):
        return f"GoPro {gopro[1]}"
    return None


def _guessed_sources(files: Sequence[str]) -> list[str] | None:
    """Return sub-folders, or names without a trailing take number, if they look like names of sources."""
    for sources in ([file.rpartition("/")[0] for file in files], [_TAKE.sub("", stem(file)) for file in files]):
        counts = Counter(sources)
        if len(counts) >= _MIN_SOURCES and 1 < max(counts.values()) <= len(files) / 2:
            return sources
    return None


def _leaves_training(inside: Sequence[tuple[int, int]], held: Sequence[int], totals: Sequence[int]) -> bool:
    """Return whether no class loses its last training clip."""
    return all(held[label] + count < totals[label] for label, count in inside)


def _hold(inside: Sequence[tuple[int, int]], held: list[int]) -> None:
    for label, count in inside:
        held[label] += count


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:8], "big")


def drawn_note(
    splits: Sequence[str],
    groups: Sequence[str],
    classes: Sequence[Sequence[str]],
    seed: int,
    *,
    noun: str = "clip",
    how: str = "",
) -> str:
    """Describe a drawn split.

    Args:
        splits: split of each clip of the draw.
        groups: source group of each.
        classes: classes of each.
        seed: of the draw.
        noun: what was drawn.
        how: what else decided the groups, such as `with copies on one side of it`.
    """
    held = splits.count("val")
    used = f"{held} of {counted(len(splits), noun)} {agree(held, 'is', 'are')} used for validation"
    by = counted(len(set(groups)), "source group")
    sources: dict[str, set[str]] = {}
    for names, group in zip(classes, groups, strict=True):
        for name in names:
            sources.setdefault(name, set()).add(group)
    validated = {name for names, split in zip(classes, splits, strict=True) if split == "val" for name in names}
    alone = sorted(sources.keys() - validated)
    none = ""
    if alone:
        none = f"; none of {', '.join(alone[:_NAMED])}{', …' if len(alone) > _NAMED else ''}"
        if all(len(sources[name]) == 1 for name in alone):
            none += f", {agree(len(alone), 'which has', 'each of which has')} a single source group"
    return f"{DRAWN} {how + ', ' if how else ''}{used}, by {by}, seed {seed}{none}"
