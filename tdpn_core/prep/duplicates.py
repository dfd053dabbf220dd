"""Find twins: copies of one recording under several names, by name, content and appearance.

Names and bytes are compared before decoding, appearance (`visual_digest`) after it. If `prep` draws the split, it keeps
twins on one side; if the split is given, it reports twins across the split.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tdpn_core.datasets import Dataset
from tdpn_core.datasets.background import is_background
from tdpn_core.datasets.clip_table import SPLITS
from tdpn_core.datasets.train_val_split import DRAWN, draw_split, find_originals, merge
from tdpn_core.prep.journal import ClipRecord, Ledger
from tdpn_core.prep.storage import Place
from tdpn_core.prep.visual_digest import find_alike
from tdpn_core.shards.manifest import LEDGER, Evidence, Twin

TWINS = f"{LEDGER}/twins.json"
_NAMED_BY_PEOPLE = ("folder", "list")  # known data sets have ids, whose similarity means nothing
_EDGE = 1 << 16
_MOST_EQUAL = 8  # identical files; if more, they are placeholders for missing videos
_MOST_CLASSES = 3  # classes that contain one file; if more, likewise
_MOST_ALIKE = 30  # similar clips; if more, the scene does not identify the recording


class Pair(NamedTuple):
    """Two clips of one recording, by id."""

    one: str
    other: str
    how: Evidence


def by_name(table: Dataset) -> list[Pair]:
    """Find clips whose names show that one is a modified copy of the other."""
    if table.name not in _NAMED_BY_PEOPLE:
        return []
    sources, ids = table.clips["source"].tolist(), table.clips["id"].tolist()
    first: dict[tuple[str, str], int] = {}
    labels = labels_of(table)
    originals = find_originals(sources, labels)
    for row, (source, original) in enumerate(zip(sources, originals, strict=True)):
        if source == original:
            first.setdefault((labels[row], original), row)
    pairs = []
    for row, original in enumerate(originals):
        anchor = first.setdefault((labels[row], original), row)
        if anchor != row and sources[row] != original:
            pairs.append(Pair(ids[anchor], ids[row], "name"))
    return pairs


def by_content(table: Dataset) -> list[Pair]:
    """Find clips with identical files; only files of equal size are read, starting with their ends."""
    clips = table.clips
    whole = np.isnan(clips["start"].to_numpy()) & np.isnan(clips["stop"].to_numpy()) & (clips["kind"] == "video")
    rows: Iterable[int] = np.flatnonzero(whole.to_numpy()).tolist()
    sources = clips["source"].tolist()
    for describe in (_size, _ends, _digest):
        kinds: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for row in rows:
            if (value := describe(table.root / sources[row])) is not None:
                kinds[value].append(row)
        lots = [lot for lot in kinds.values() if len(lot) > 1]
        rows = [row for lot in lots for row in lot]
    ids = clips["id"].tolist()
    return [Pair(ids[lot[0]], ids[row], "bytes") for lot in sorted(lots) for row in lot[1:]]


@dataclass(frozen=True)
class Seen:
    """Result of comparing the appearance of packed clips, stored with the ledger."""

    key: str = ""
    """Digest of the appearances compared."""

    pairs: tuple[Pair, ...] = ()
    moved: frozenset[str] = frozenset()
    """Clips that moved to another split after they were packed."""


def load_seen(place: Place, pool: Collection[str]) -> Seen:
    """Load the result of an earlier run; if damaged, assume that any clip of `pool` (split drawn by us) moved."""
    content = place.load(TWINS)
    if content is None:
        return Seen()
    try:
        values = json.loads(content)
        pairs = tuple(
            Pair(str(one), str(other), "mirror" if how == "mirror" else "look") for one, other, how in values["pairs"]
        )
        return Seen(str(values["looks"]), pairs, frozenset(map(str, values["moved"])))
    except (ValueError, KeyError, TypeError):
        return Seen(moved=frozenset(pool))


def save_seen(place: Place, seen: Seen) -> None:
    """Store the result."""
    values = {"looks": seen.key, "pairs": seen.pairs, "moved": sorted(seen.moved)}
    place.save(TWINS, [json.dumps(values, indent=0).encode()])


def background_parts(table: Dataset) -> frozenset[str]:
    """Return the clips from gaps between actions, by id: with a fixed camera they look alike in all videos."""
    parts = (~np.isnan(table.clips["start"].to_numpy())).tolist()
    ids = zip(table.clips["id"].tolist(), labels_of(table), parts, strict=True)
    return frozenset(
        clip for clip, label, part in ids if part and (is_background(label) or (table.multilabel and not label))
    )


def by_look(ledger: Ledger, before: Seen, apart: Collection[str] = ()) -> Seen:
    """Find packed clips with similar appearance, except those of `apart`.

    Returns `before` if appearances are unchanged.
    """
    looks = (clip for block in ledger.blocks() for clip in block.clips if clip.look and clip.id not in apart)
    done = sorted(looks, key=lambda clip: clip.id)
    key = hashlib.sha256(json.dumps([[clip.id, clip.look] for clip in done]).encode()).hexdigest()
    if key == before.key:
        return before
    found = find_alike([clip.look for clip in done], [clip.seconds for clip in done], [clip.frames for clip in done])
    pairs = (Pair(done[one].id, done[other].id, "mirror" if mirrored else "look") for one, other, mirrored in found)
    return Seen(key, tuple(pairs), before.moved)


def moved(before: Dataset, after: Dataset) -> frozenset[str]:
    """Return the clips whose split differs between two tables of the same clips."""
    splits = dict(zip(before.clips["id"].tolist(), before.clips["split"].tolist(), strict=True))
    ids, now = after.clips["id"].tolist(), after.clips["split"].tolist()
    return frozenset(clip for clip, split in zip(ids, now, strict=True) if splits[clip] != split)


def labels_of(table: Dataset) -> list[str]:
    """Return the class name of each clip in the first head, several joined by ` + `; "" without one."""
    return [" + ".join(names) for names in table.class_names(next(iter(table.classes)))]


def on_one_side(table: Dataset, pairs: Sequence[Pair]) -> Dataset:
    """Return `table` with the twins of each pair on one side, if we drew its split; else unchanged.

    The split is drawn again from the source groups after joining those of twins. Content shared by so many clips that
    it is probably a placeholder joins nothing.
    """
    if not table.groups:
        return table
    ids, labels = table.clips["id"].tolist(), labels_of(table)
    rows = [row for row, clip in enumerate(ids) if clip in table.groups]
    place = {ids[row]: number for number, row in enumerate(rows)}
    groups = [table.groups[ids[row]] for row in rows]
    named = table.class_names(next(iter(table.classes)))
    classes = [named[row] for row in rows]
    kept = _sources(pairs, dict(zip(ids, labels, strict=True)))
    joined = [(place[pair.one], place[pair.other]) for pair in kept if pair.one in place and pair.other in place]
    merged = merge(groups, [*joined, *_same_file(table, rows)])
    if merged == groups:
        return table
    splits = table.clips["split"].tolist()
    drawn, note = draw_split(merged, classes, table.seed, how="with copies on one side of it")
    for row, split in zip(rows, drawn, strict=True):
        splits[row] = split
    order = sorted(range(len(ids)), key=lambda row: (SPLITS.index(splits[row]), ids[row]))
    clips = table.clips.assign(split=np.array(splits, dtype=object)).iloc[order].reset_index(drop=True)
    notes = [line for line in table.notes if not line.startswith(DRAWN)]
    return dataclasses.replace(table, clips=clips, notes=[*notes, note])


def without_validation(table: Dataset) -> list[str]:
    """Return why a split that we drew has no validation clip, and what to do; empty if it has one."""
    if not table.groups or "val" in table.clips["split"].tolist():
        return []
    return [
        "there is no validation clip: the clips of each class count as one source, whose copies must not be on both "
        "sides of the split, so a run is judged by its training clips; add clips of other recordings, or choose "
        "validation clips yourself (in val/CLASS/, or a column split in a list)"
    ]


def _same_file(table: Dataset, rows: Sequence[int]) -> list[tuple[int, int]]:
    """Return pairs of `rows`, by number, that are parts of one file."""
    first: dict[str, int] = {}
    sources = table.clips["source"].tolist()
    numbered = [(first.setdefault(sources[row], number), number) for number, row in enumerate(rows)]
    return [(one, other) for one, other in numbered if one != other]


def _sources(pairs: Sequence[Pair], labels: Mapping[str, str]) -> list[Pair]:
    """Return pairs without content that too many clips share."""
    kept = []
    for lot in _components(pairs):
        alike = {clip for pair in lot for clip in pair[:2]}
        equal = Counter(pair.one for pair in lot if pair.how == "bytes")
        spread = {labels.get(clip, "") for clip in alike}
        blank = any(count >= _MOST_EQUAL for count in equal.values()) or (equal and len(spread) > _MOST_CLASSES)
        if not blank and len(alike) <= _MOST_ALIKE:
            kept += lot
    return kept


def _components(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Group the pairs by connected components of clips."""
    names = sorted({clip for pair in pairs for clip in pair[:2]})
    number = {name: row for row, name in enumerate(names)}
    lots: dict[str, list[Pair]] = defaultdict(list)
    merged = merge(names, [(number[pair.one], number[pair.other]) for pair in pairs])
    for pair in pairs:
        lots[merged[number[pair.one]]].append(pair)
    return list(lots.values())


def pair_up(pairs: Sequence[Pair], splits: Mapping[str, str]) -> list[Twin]:
    """Return each clip that has an earlier twin, once, preferring a twin in another split.

    Args:
        pairs: all pairs; of several for the same two clips, the first counts.
        splits: split of each clip to consider, by id.
    """
    twins = []
    for lot in _components([pair for pair in pairs if pair.one in splits and pair.other in splits]):
        how: dict[str, dict[str, Evidence]] = defaultdict(dict)
        for pair in lot:
            how[pair.one].setdefault(pair.other, pair.how)
            how[pair.other].setdefault(pair.one, pair.how)
        first, *others = sorted(how, key=lambda clip: (SPLITS.index(splits[clip]), clip))
        place = {clip: number for number, clip in enumerate([first, *others])}
        for clip in others:
            nearest = min(how[clip], key=place.__getitem__)
            evidence = how[clip][nearest]
            twin = nearest if place[nearest] < place[clip] and splits[nearest] == splits[first] else first
            twins.append(Twin(clip, splits[clip], twin, splits[twin], evidence))
    return sorted(twins, key=lambda twin: (twin.split == twin.twin_split, twin.split, twin.clip))


def recorded_splits(ledger: Ledger) -> dict[str, str]:
    """Return the split of each packed clip."""
    return {clip.id: block.split for block in ledger.blocks() for clip in block.clips if _done(clip)}


def _done(clip: ClipRecord) -> bool:
    return clip.status == "done"


def _size(path: Path) -> tuple[object, ...] | None:
    """None also for an empty file, which is no copy of another one."""
    try:
        size = path.stat().st_size
    except OSError:
        return None
    return (size,) if size else None


def _ends(path: Path) -> tuple[object, ...] | None:
    """Return the size and a digest of the first and last bytes."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            digest = hashlib.sha256(file.read(_EDGE))
            file.seek(max(size - _EDGE, 0))
            digest.update(file.read(_EDGE))
    except OSError:
        return None
    return size, digest.digest()


def _digest(path: Path) -> tuple[object, ...] | None:
    try:
        with path.open("rb") as file:
            return (hashlib.file_digest(file, "sha256").digest(),)
    except OSError:
        return None
