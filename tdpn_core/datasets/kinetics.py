"""Kinetics-400, 600 and 700 in all common layouts: flat or in class folders, annotated or not.

If a split has an annotation file, it determines the clips and their labels; otherwise class folders do. Class names are
compared without case, quotes and brackets, with `_` as a space; the class order is that of the sorted raw names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from tdpn_core.datasets.annotation_io import fault, read_columns, read_header, read_json, shorten
from tdpn_core.datasets.class_names import normal
from tdpn_core.datasets.clip_table import HEAD, UNLABELLED, Dataset, Rows, Tally, make_dataset
from tdpn_core.datasets.media_index import Sources
from tdpn_core.datasets.options import DatasetOptions
from tdpn_core.datasets.remote import Download, RemoteFile
from tdpn_core.datasets.scan import Found, stem
from tdpn_core.datasets.spec import DatasetSpec
from tdpn_core.datasets.splits import split_of_file, split_of_folder
from tdpn_core.datasets.understanding import Reading
from tdpn_core.errors import DatasetError
from tdpn_core.wording import counted

YOUTUBE_ID = "youtube_id"

_SIZE = re.compile(r"(?:k|kinetics)[-_]?(400|600|700)", re.IGNORECASE)
_JSON = re.compile(r'\s*\{\s*"[^"]+"\s*:\s*\{.*?"annotations"\s*:\s*\{', re.DOTALL)
_HEAD = 4096  # characters of a json file that are examined to recognise it


def is_annotation(path: Path) -> bool:
    """Return whether a file annotates Kinetics: csv with a youtube_id, or DeepMind's json without a csv next to it."""
    try:
        if path.suffix.lower() == ".csv":
            return YOUTUBE_ID in read_header(path)
        return path.suffix.lower() == ".json" and _is_json(path) and not _has_table(path.with_suffix(".csv"))
    except DatasetError:  # some other file
        return False


def annotation_files(name: str, texts: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """Return the annotation files except those of another size of Kinetics, and notes on these."""
    files, notes = [], []
    for path in texts:
        if not is_annotation(path):
            continue
        size = stated_size(path)
        if size and size != name.removeprefix("kinetics"):
            notes.append(f"{path.name} belongs to Kinetics-{size} and is not used")
        else:
            files.append(path)
    return files, notes


def stated_size(path: Path) -> str | None:
    """Return 400, 600 or 700 if the name of a file or its folder contains it."""
    for part in (path.name, path.parent.name, path.parent.parent.name):
        if match := _SIZE.search(part):
            return match[1]
    return None


def read_rows(path: Path) -> Iterator[tuple[int, str, str, str]]:
    """Yield (line, clip, split, label or "") for every row; for a json file, the line is the number of the entry.

    Raises:
        DatasetError: a row is not an annotation.
    """
    stated = split_of_file(path.stem)
    for line, (video, start, end, split, label) in _rows(path):
        if not video:
            raise fault(path, line, "is not an annotation: youtube_id is empty")
        try:
            name = f"{video}_{int(float(start)):06d}_{int(float(end)):06d}"
        except (ValueError, OverflowError, TypeError) as error:
            raise fault(path, line, f"is not an annotation: {error}") from error
        known = split_of_folder(split) if split else stated
        if known is None:
            raise (
                fault(path, line, "is not an annotation: unknown split", split)
                if split
                else fault(path, line, "has no split, nor does the file name")
            )
        yield line, name, known, label


def _rows(path: Path) -> Iterator[tuple[int, list[Any]]]:
    """Yield (line, [video, start, end, split, label])."""
    if path.suffix.lower() == ".csv":
        yield from read_columns(path, (YOUTUBE_ID, "time_start", "time_end"), ("split", "label"))
        return
    for number, (video, entry) in enumerate(read_json(path).items(), 1):
        try:
            said = entry["annotations"]
            start, end = said["segment"]
            yield number, [video, start, end, str(entry.get("subset", "")), str(said.get("label", ""))]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"is not an annotation with a segment: {shorten(entry)}"
            raise fault(path, number, what, video) from error


def _is_json(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8-sig") as source:
            return _JSON.match(source.read(_HEAD)) is not None
    except (OSError, UnicodeDecodeError):
        return False


def _has_table(path: Path) -> bool:
    return path.is_file() and YOUTUBE_ID in read_header(path)


SIZES = (400, 600, 700)

_TIMED = re.compile(r".+_\d{6}_\d{6}", re.DOTALL)  # an id may contain _ and begin with -
_ID_LENGTH = 11
_REPLACEMENT = "replacement"  # folder of CVDF's intact copies of corrupt files


class _Labels:
    """Classes in order of occurrence; sorted at the end."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}  # by spelling and by normalised form
        self._raw: list[str] = []

    def __call__(self, spelled: str, written: str | None = None) -> int:
        """Return the provisional number of a class; `written` is its name if `spelled` is a folder name."""
        label = self._known.get(spelled)
        if label is None:
            label = self._known.setdefault(normal(spelled), len(self._raw))
            if label == len(self._raw):
                self._raw.append(written or spelled)
            self._known[spelled] = label
        return label

    def in_order(self) -> tuple[list[str], np.ndarray]:
        """Return the sorted names, and the final number of each provisional one; the last entry maps -1 to -1."""
        names = sorted(self._raw)
        return names, np.array([*map({name: label for label, name in enumerate(names)}.get, self._raw), UNLABELLED])


def read_kinetics(name: str, found: Found, texts: list[Path], options: DatasetOptions) -> Dataset:
    """Return the table of a copy of Kinetics.

    Raises:
        DatasetError: there are no clips, or an annotation file cannot be read.
    """
    files, notes = annotation_files(name, texts)
    rows, labels, tally = Rows([HEAD]), _Labels(), Tally()
    replaced, intact = _without_replaced(found)
    sources = Sources(intact, options.sources)
    annotated = _read_annotated(files, sources, rows, labels, tally)
    notes = found.notes(files) + notes + tally.notes()
    if not files:
        notes.append("no annotation file found: classes are the names of the class folders")
    strays = _read_class_folders(sources, annotated, bool(files), rows, labels)
    if strays:
        notes.append(f"{counted(strays, 'video is', 'videos are')} not in any annotation file")
    if replaced:
        notes.append(f"{counted(replaced, 'file is', 'files are')} replaced by those in the replacement folder")
    notes += sources.left()
    del sources, intact  # as large as the table
    names, order = labels.in_order()
    classes = {HEAD: names}
    dataset = make_dataset(
        name,
        found.root,
        rows,
        classes,
        reading=Reading("Kinetics: annotation files" if files else "Kinetics: class folders", tuple(files)),
        label_order="sorted",
        notes=notes,
        listed=annotated,
    )
    column = f"label_{HEAD}"
    dataset.clips[column] = order[dataset.clips[column].to_numpy()]
    return dataset


def _read_annotated(files: list[Path], sources: Sources, rows: Rows, labels: _Labels, tally: Tally) -> set[str]:
    """Add the annotated clips that are on disk; returns the annotated splits."""
    splits = set()
    for path in files:
        for line, name, split, label in read_rows(path):
            splits.add(split)
            number = labels(label) if label else UNLABELLED
            if name in rows:
                if rows.labels(name) != (number,):
                    raise fault(path, line, "clip is listed twice with different classes", name)
                same = rows.split(name) == split
                tally.repeated(name, same_split=same)
                continue
            own = partial(_is_of, split)
            source = sources.find(name, own) or sources.find(name[: -len("_000000_000000")], own)
            if source is None:
                if rows.lack(name, split):
                    tally.absent(split, "annotation file")
            else:
                rows.add(name, split, [number], source)
    return splits


def _without_replaced(found: Found) -> tuple[int, Found]:
    """Return the number of files that a replacement folder overrides, and the findings without them."""
    replacements = {stem(video) for video in found.videos if _is_replacement(video)}
    if not replacements:
        return 0, found
    videos = [path for path in found.videos if _is_replacement(path) or stem(path) not in replacements]
    return len(found.videos) - len(videos), Found(found.root, videos, found.folders, found.tars)


def _is_replacement(path: str) -> bool:
    return _REPLACEMENT in path.partition("/")[0] and "/" in path


def _read_class_folders(
    sources: Sources, annotated: set[str], any_annotation: bool, rows: Rows, labels: _Labels
) -> int:
    """Add clips of splits without annotation files by their class folders; returns the number of other videos."""
    others = 0
    for name in sources.unused():
        paths = sources.paths(name)
        split = _split_of(paths[0]) or (None if any_annotation else "train")
        label = _class_of(paths[0])
        clip = name if _TIMED.fullmatch(name) or len(name) == _ID_LENGTH else paths[0]
        if split is None or label is None or split in annotated or clip in rows:
            others += len(paths)
            continue
        source = sources.find(name)
        if source is not None:
            rows.add(clip, split, [labels(label, label.replace("_", " "))], source)
    return others


def _split_of(path: str) -> str | None:
    """Return the split in whose folder a file is."""
    return next((split for part in path.split("/")[:-1] if (split := split_of_folder(part))), None)


def _is_of(split: str, path: str) -> bool:
    return _split_of(path) == split


def _class_of(path: str) -> str | None:
    """Return the class folder of a file: its own folder, unless that is a split folder or contains everything."""
    folders = path.split("/")[:-1]
    if not folders or split_of_folder(folders[-1]) or _is_replacement(path):
        return None
    return folders[-1]


def detect_kinetics(size: int, found: Found, texts: list[Path], options: DatasetOptions) -> str | None:
    """Detect Kinetics of that size by a file or folder name, else by the number of annotated classes."""
    files = [path for path in texts if is_annotation(path)]
    if not files:
        return None
    stated = {place: path for path in reversed(files) if (place := stated_size(path))}
    if not stated and (place := stated_size(found.root / "_" / "_")):
        stated = {place: files[0]}
    if stated:
        file = stated.get(str(size))
        return f"{file.name} annotates its clips, and its path contains {size}" if file else None
    labels = frozenset[str]().union(*map(_labels_of, files))
    if size != next((size for size in SIZES if len(labels) <= size + 1), SIZES[-1]):
        return None
    return f"{files[0].name} annotates its clips, in {len(labels - {''})} classes"


def _labels_of(path: Path) -> frozenset[str]:
    state = path.stat()
    return _labels_of_version(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=8)
def _labels_of_version(path: Path, size: int, changed: int) -> frozenset[str]:
    """Return the labels of an annotation file, cached for all sizes: the file is long, the labels are few."""
    return frozenset(label for *_, label in read_rows(path))


# CVDF's bucket; addresses from the README and the *_downloader.sh of github.com/cvdfoundation/kinetics-dataset.
_OWNER = "https://s3.amazonaws.com/kinetics"
_TREES = {400: ("400", "k400"), 600: ("600", "k600"), 700: ("700_2020", "k700_2020")}  # folder, prefix of its lists


def _remote_files(size: int, base: str, splits: Sequence[str]) -> list[RemoteFile]:
    """Return CVDF's copy: annotations, lists of archives, and for Kinetics-400 replacements of corrupted clips.

    Kinetics-400 comes in parts of flat files (k400_extractor.sh), Kinetics-700-2020 in class folders, and Kinetics-600
    in one archive per class; its README calls its train.csv and val.csv incomplete, so there the folders give the
    class.
    """
    folder, prefix = _TREES[size]
    by_class = {split: size == 600 and split != "test" for split in splits}
    files = []
    for split in splits:  # the csv files of Kinetics-600 are incomplete and would override the class folders
        place = f"annotations/{split}.{'txt' if by_class[split] else 'csv'}"
        files.append(
            RemoteFile(url=f"{base}/{place}", kind="file", target=place, provides=place, split=split, etag_is_md5=True)
        )
    for split in splits:
        files.append(
            RemoteFile(
                url=f"{base}/{split}/{prefix}_{split}_path.txt",
                kind="index",
                target=split,
                provides=split,
                split=split,
                base=f"{_OWNER}/{folder}",
                class_folders=by_class[split],
                etag_is_md5=True,
            )
        )
    if size == 400 and "train" in splits:  # the corrupted clips belong to train, see arrange_by_classes.py
        url, own = f"{base}/replacement_for_corrupted_k400.tgz", _REPLACEMENT
        files.append(RemoteFile(url=url, kind="archive", target=own, provides=own, etag_is_md5=True))
    return files


def _spec(size: int) -> DatasetSpec:
    name = f"kinetics{size}"
    return DatasetSpec(
        name=name,
        title=f"Kinetics-{size}",
        aliases=(f"k{size}",),
        read=partial(read_kinetics, name),
        detect=partial(detect_kinetics, size),
        recipe="kinetics400" if size == SIZES[0] else "finetune",
        num_classes={HEAD: size},
        foreign_order="sorted",
        download=Download(
            address=f"{_OWNER}/{_TREES[size][0]}",
            files=partial(_remote_files, size),
            splits=("train", "val", "test"),
            usual_splits=("train", "val"),
        ),
    )


KINETICS400, KINETICS600, KINETICS700 = map(_spec, SIZES)
