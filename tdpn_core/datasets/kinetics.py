"""Kinetics-400 in the forms of its copies: flat or in class folders, with annotation files or without.

Annotation files are read by their header, so the crawler's, CVDF's and DeepMind's dialects are one. Where a split has
one, it decides which files are clips, and their labels; else its class folders do. Names of classes are compared
without case, quotes and brackets, `_` as a space; the order of classes is that of the sorted raw names.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tdpn_core.datasets.folder import SPLIT_FOLDERS
from tdpn_core.datasets.scan import scan
from tdpn_core.datasets.table import HEAD, UNLABELLED, Clip, Dataset, make_dataset
from tdpn_core.errors import DatasetError

_SPLITS = {**SPLIT_FOLDERS, "validate": "val"}
_TIMED = re.compile(r"(.+)_(\d{6})_(\d{6})")  # an id may hold _ itself, and begin with -
_ID_LENGTH = 11
_REPLACEMENT = "replacement"  # folder of CVDF's intact copies of corrupt files


@dataclass(frozen=True)
class Row:
    """One line of an annotation file."""

    video: str
    start: int
    end: int
    split: str
    label: str | None

    @property
    def name(self) -> str:
        """The file's name without suffix."""
        return f"{self.video}_{self.start:06d}_{self.end:06d}"


@dataclass
class _Files:
    """Video files by what their names say."""

    timed: dict[str, list[Path]] = field(default_factory=dict)
    """By full name."""

    bare: dict[str, list[Path]] = field(default_factory=dict)
    """By id alone."""

    replaced: int = 0


def read_kinetics(root: Path) -> Dataset:
    """A table of the Kinetics-400 copy at `root`.

    Raises:
        DatasetError: no videos, or an annotation file that cannot be read.
    """
    found = scan(root)
    notes = found.notes()
    rows = list(_annotations(root))
    files = _by_name(found.videos, root)
    clips, used = _annotated(rows, files, root, notes)
    in_folders = _in_class_folders([video for video in found.videos if video not in used], root, rows)
    used |= {video for _, _, video in in_folders}
    names = _class_names((row.label for row in rows), (label for _, label, _ in in_folders))
    if rows and len(found.videos) > len(used) + files.replaced:
        notes.append(f"{len(found.videos) - len(used) - files.replaced} videos are in no annotation file")
    if files.replaced:
        notes.append(f"{files.replaced} files are overridden by those of the replacement folder")
    if not rows:
        notes.append("no annotation csv found: classes are the names of the class folders")
    index = {normal(name): label for label, name in enumerate(names)}
    table = [_clip(row.name, video, row.split, index.get(normal(row.label or ""))) for row, video in clips]
    table += [_clip(_id_of(video, root), video, split, index[normal(label)]) for split, label, video in in_folders]
    return make_dataset("kinetics400", _once(table, notes), {HEAD: names}, notes)


def normal(label: str) -> str:
    """The form in which class names are compared: the copies of the data set spell them in three ways."""
    return re.sub(r"[\"'()]", "", label.replace("_", " ")).strip().lower()


def _annotations(root: Path) -> Iterator[Row]:
    """The rows of every csv near the root whose header has a youtube_id."""
    for path in sorted([*root.glob("*.csv"), *root.glob("*/*.csv")]):
        try:
            with path.open(newline="", encoding="utf-8-sig") as source:
                reader = csv.DictReader(source)
                if "youtube_id" in (reader.fieldnames or ()):
                    for values in reader:
                        yield _row(values, path, reader.line_num)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DatasetError(f"cannot be read: {error}", where=path) from error


def _row(values: dict[str, str | None], path: Path, line: int) -> Row:
    try:
        start, end = (int(float(values[name] or "")) for name in ("time_start", "time_end"))
        stated = values.get("split") or next(name for name in _SPLITS if name in path.stem.lower())
        video, label = values["youtube_id"], values.get("label")
        if not video:
            raise ValueError("youtube_id is empty")
        return Row(video, start, end, _SPLITS[stated.strip().lower()], (label or "").strip() or None)
    except (ValueError, KeyError, OverflowError) as error:
        raise DatasetError(f"line {line} is no annotation: {error}", where=path) from error
    except StopIteration:
        raise DatasetError(f"line {line} names no split, nor does the file", where=path) from None


def _by_name(videos: Iterable[Path], root: Path) -> _Files:
    """Index the files; those of a replacement folder take the place of their namesakes."""
    files = _Files()
    ordered = sorted(videos, key=lambda video: _REPLACEMENT not in video.relative_to(root).parts[0])
    replacements = {video.stem for video in ordered if _REPLACEMENT in video.relative_to(root).parts[0]}
    for video in ordered:
        if video.stem in replacements and _REPLACEMENT not in video.relative_to(root).parts[0]:
            files.replaced += 1
        elif _TIMED.fullmatch(video.stem):
            files.timed.setdefault(video.stem, []).append(video)
        elif len(video.stem) == _ID_LENGTH:
            files.bare.setdefault(video.stem, []).append(video)
    return files


def _annotated(
    rows: list[Row], files: _Files, root: Path, notes: list[str]
) -> tuple[list[tuple[Row, Path]], set[Path]]:
    """Each row's file, and the files that were taken."""
    clips: list[tuple[Row, Path]] = []
    missing: dict[str, int] = {}
    for row in rows:
        candidates = files.timed.get(row.name) or files.bare.get(row.video)
        if not candidates:
            missing[row.split] = missing.get(row.split, 0) + 1
            continue
        own_split = [video for video in candidates if _split_of(video, root) == row.split]
        clips.append((row, (own_split or candidates)[0]))
    notes += [f"{count} {split} clips of the annotation file are not on disk" for split, count in missing.items()]
    return clips, {video for _, video in clips}


def _in_class_folders(videos: Iterable[Path], root: Path, rows: list[Row]) -> list[tuple[str, str, Path]]:
    """(split, class folder, file) of the files that no annotation file could have spoken of."""
    annotated = {row.split for row in rows}
    placed = []
    for video in videos:
        split = _split_of(video, root) or (None if rows else "train")
        label = _class_of(video, root)
        if split and label and split not in annotated:
            placed.append((split, label, video))
    return placed


def _split_of(video: Path, root: Path) -> str | None:
    """The split whose folder a file lies in."""
    folders = video.relative_to(root).parts[:-1]
    return next((_SPLITS[part.lower()] for part in folders if part.lower() in _SPLITS), None)


def _class_of(video: Path, root: Path) -> str | None:
    """The class folder of a file: its own folder, unless that is a split's or a container of all."""
    folders = video.relative_to(root).parts[:-1]
    if not folders or folders[-1].lower() in _SPLITS or _REPLACEMENT in folders[0]:
        return None
    return folders[-1]


def _class_names(labels: Iterable[str | None], folders: Iterable[str]) -> list[str]:
    """Sorted raw names; a folder's spelling counts only for a class that no annotation names."""
    raw: dict[str, str] = {}
    for label in labels:
        if label:
            raw.setdefault(normal(label), label)
    for folder in folders:
        raw.setdefault(normal(folder), folder.replace("_", " "))
    return sorted(raw.values())


def _id_of(video: Path, root: Path) -> str:
    """The file's name if it is one of Kinetics, else its place."""
    if _TIMED.fullmatch(video.stem) or len(video.stem) == _ID_LENGTH:
        return video.stem
    return video.relative_to(root).as_posix()


def _clip(name: str, video: Path, split: str, label: int | None) -> Clip:
    return Clip(name, video, split, {HEAD: UNLABELLED if label is None else label})


def _once(clips: Iterable[Clip], notes: list[str]) -> list[Clip]:
    """The first clip of each name."""
    first: dict[str, Clip] = {}
    count = 0
    for clip in clips:
        first.setdefault(clip.id, clip)
        count += 1
    if count > len(first):
        notes.append(f"{count - len(first)} clips appear more than once and are taken once")
    return list(first.values())
