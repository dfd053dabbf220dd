"""List files: one clip per line, in the dialects of common code bases.

`list_grammar` determines which fields of a line are path, numbers, class name and split. The meaning of the numbers
after the path in a list without a header depends on their count and on the clips on disk:

- `path`;
- `path label`, and `path,class name`;
- `path count label` (TSN and derived projects; for a video the count is ignored), `path 0 -1` (unlabelled),
  `path start count` if the folders' sizes match (VideoMAE V2's pre-training);
- `path first last label`, or `path offset count label` (mmaction2);
- `path first last verb noun`;
- one frame per line, with the header `original_vido_id video_id frame_id path labels` (PySlowFast; the typo is real).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from tdpn_core.datasets.annotation_io import encoding_of, fault, read_fields, read_lines
from tdpn_core.datasets.class_names import CLASS_FILE, find_class_list, read_class_list
from tdpn_core.datasets.clip_table import (
    FRAMES,
    HEAD,
    SPLITS,
    UNLABELLED,
    VIDEO,
    Dataset,
    Rows,
    Source,
    Tally,
    make_dataset,
)
from tdpn_core.datasets.columns import LABEL, SPLIT
from tdpn_core.datasets.folder import set_aside
from tdpn_core.datasets.list_grammar import (
    LARGEST_CLASS,
    MOST_NUMBERS,
    Grammar,
    Line,
    ListFile,
    grammar_of,
    split_labels,
)
from tdpn_core.datasets.media_index import Sources
from tdpn_core.datasets.options import DatasetOptions
from tdpn_core.datasets.scan import PICTURE, VIDEO_SUFFIXES, Found, name_of, suffix
from tdpn_core.datasets.segment_table import read_segment_files
from tdpn_core.datasets.spec import DatasetSpec
from tdpn_core.datasets.spelling import unify
from tdpn_core.datasets.splits import split_of_path
from tdpn_core.datasets.understanding import OddLine, Reading
from tdpn_core.errors import DatasetError
from tdpn_core.frame_names import parts_of
from tdpn_core.wording import agree, counted

_SPLIT_NUMBER = re.compile(r"(?:split|list)_?0?([123])(?!\d)", re.IGNORECASE)
_ENDINGS = (".txt", ".csv", ".list", ".tsv")
_SAMPLE = 500  # lines examined to interpret the numbers
_LOOKED_AT = 20  # of these, clips that are looked up on disk
_FRAME_HEADER = ("original_vido_id", "video_id", "frame_id", "path", "labels")
_FRAME_COLUMNS = {"clip": "original_vido_id", "path": "path", "label": "labels"}


def find_lists(found: Found, texts: list[Path], options: DatasetOptions) -> list[Path]:
    """Return the list files: those of the splits, else one with a split column, else a single one that was given.

    The split of a list is in its name, or else in that of a folder above it. Lists that were not given explicitly must
    contain clips that are on disk. Of several for one split, the one for `options.split` is used, then the one for the
    requested sources.

    Raises:
        DatasetError: several files could be the list of one split.
    """
    return [path for path, _, _ in _find_lists(found, texts, options, _Finder(found, options))]


_List = tuple[Path, str | None, Grammar | None]
"""A list file, the split in its name, and its grammar; None for one frame per line."""


def _find_lists(found: Found, texts: list[Path], options: DatasetOptions, finder: _Finder) -> list[_List]:
    named = options.annotation_paths()
    by_split: dict[str, list[_List]] = {}
    own_splits: list[_List] = []
    loose: list[_List] = []
    for path in texts:
        if path.suffix.lower() not in _ENDINGS or (one := _as_list(path, found, path in named, finder)) is None:
            continue
        _, split, grammar = one
        if split:
            by_split.setdefault(split, []).append(one)
        elif grammar and SPLIT in grammar.columns:
            own_splits.append(one)
        elif (path in named and len(named) == 1) or (grammar and grammar.header and LABEL in grammar.columns):
            loose.append(one)
    if by_split:
        return [one for split in SPLITS if split in by_split for one in _one(by_split[split], split, options)]
    if own_splits:
        return _one(own_splits, "entire", options)
    return _one(loose, "entire", options) if loose else []


def _as_list(path: Path, found: Found, is_named: bool, finder: _Finder) -> _List | None:
    """Return a file as a list of clips, some of which must be on disk unless it was given; None if it is not a list."""
    class_file = CLASS_FILE.fullmatch(path.name) is not None
    split = split_of_path(path, found.root)
    try:
        if _is_frame_list(path):
            return path, split, None
        grammar = grammar_of(path, lambda written: finder.find(written, path) is not None)
        if class_file and not grammar.header:
            return None
        if is_named and not class_file:
            return path, split, grammar
        sample = islice(ListFile(path, grammar, split).lines(), _LOOKED_AT)
        return (path, split, grammar) if any(finder.find(line.path, path) for line in sample) else None
    except DatasetError:
        if is_named and not class_file:
            raise
        return None  # some other file


def _have_segments(lists: Sequence[_List]) -> bool:
    """Return whether the rows of the lists are segments of videos.

    Raises:
        DatasetError: those of some lists are, and those of others are not.
    """
    kinds = {
        path: grammar is not None and ListFile(path, grammar, split).has_segments for path, split, grammar in lists
    }
    if len(set(kinds.values())) > 1:
        parts, entire = (next(path for path, kind in kinds.items() if kind is wanted) for wanted in (True, False))
        what = f"has start and end columns, and {entire.name} has none"
        hint = f"add them to {entire.name}, or pass --ignore-segments to pack entire videos"
        raise DatasetError(what, where=parts, hint=hint)
    return any(kinds.values())


def read_list(found: Found, texts: list[Path], options: DatasetOptions) -> Dataset:
    """Return the table of the clips in list files.

    Raises:
        DatasetError: there are no lists, several for one split, or no clips, or a list has an error.
    """
    finder, tally = _Finder(found, options), Tally()
    lists = _find_lists(found, texts, options, finder)
    if not lists:
        hint = "expected train and val lists (train.txt, val.list, …) under the root; or give them with --annotations"
        raise DatasetError("no list files with clips that are on disk", where=found.root, hint=hint)
    if not options.ignore_segments and _have_segments(lists):
        return read_segment_files(found, [path for path, *_ in lists], options, name="list")
    files = [ListFile(path, grammar, split, multilabel=options.multilabel)
             for path, split, grammar in lists if grammar]  # fmt: skip
    four = any(file.grammar.numbers == MOST_NUMBERS for file in files)
    heads = ["verb", "noun"] if four else [HEAD]
    class_of, by_name, notes = _named_classes(files)
    label_of = {name: label for label, name in enumerate(by_name)}
    if four and options.multilabel:
        raise DatasetError("has a verb and a noun for each clip, not several labels", where=found.root,
                           hint="leave out --multilabel")  # fmt: skip
    rows = Rows(heads, multilabel=options.multilabel)
    builder = _Builder(rows, finder, tally, apart=len({path.parent for path, *_ in lists}) > 1)
    meanings = {
        numbers: _meaning([file for file in files if file.grammar.numbers == numbers], finder)
        for numbers in {file.grammar.numbers for file in files}
    }
    for file in files:
        builder.add_list(file, meanings[file.grammar.numbers], {one: label_of[name] for one, name in class_of.items()})
    for path, split, grammar in lists:
        if grammar is None:
            builder.add_frame_list(path, split or "train")
    paths = [path for path, *_ in lists]
    names = _class_names(
        builder, by_name, [*texts, *_beside(paths), *(found.root / text for text in found.texts)], options
    )
    used = [*paths, *([names.file] if names.file else [])]
    odd = tuple(line for file in files for line in file.odd)
    notes = (
        found.notes(used) + _encodings(paths) + notes + tally.notes() + finder.notes() + names.notes + _oddities(files)
    )
    if options.ignore_segments:
        notes += _segments_ignored(files)
    listed = builder.listed
    del builder, finder  # as large as the table
    if not len(rows):
        hint = "; ".join([*notes, f"paths are searched below {found.root} and next to the lists"])
        raise DatasetError("none of the listed clips is on disk", where=found.root, hint=hint)
    main = names.classes[heads[0]]
    labels = [[main[label] for label in rows.all_labels(row)] for row in range(len(rows))]
    notes += _doubtful_labels(rows, labels, main)
    groups = set_aside(rows.splits, rows.sources.__getitem__, labels, options.seed, notes)
    drawn = {clip: groups[row] for row, clip in enumerate(rows.ids) if row in groups}
    return make_dataset(
        "list",
        found.root,
        rows,
        names.classes,
        reading=_reading(lists, files, used, odd),
        label_order=names.order,
        notes=notes,
        listed=listed,
        groups=drawn,
        seed=options.seed,
    )


def _reading(lists: list[_List], files: list[ListFile], used: list[Path], odd: tuple[OddLine, ...]) -> Reading:
    columns: dict[str, str] = {}
    for file in files:
        for role, column in file.grammar.columns_used().items():
            columns.setdefault(role, column)
    ignored = dict.fromkeys(name for file in files for name in file.grammar.columns_ignored())
    if not files:
        columns = dict(_FRAME_COLUMNS)
    layout = "list files with a header" if any(file.grammar.header for file in files) else "list files"
    if any(grammar is None for *_, grammar in lists):
        layout = "list files: one frame per line"
    return Reading(layout, tuple(used), columns, tuple(ignored), odd)


def _encodings(paths: Iterable[Path]) -> list[str]:
    encodings = {path: encoding_of(path) for path in paths}
    return [f"{path.name} is read as {encoding}: check the names" for path, encoding in encodings.items()
            if encoding in ("cp1252", "latin-1")]  # fmt: skip


def _oddities(files: list[ListFile]) -> list[str]:
    return [
        f"{file.path.name}: {counted(file.odd_count, 'line')} {agree(file.odd_count, 'is', 'are')} left out"
        for file in files
        if file.odd_count
    ]


def _doubtful_labels(rows: Rows, labels: Sequence[Sequence[str]], classes: Sequence[str]) -> list[str]:
    """Describe clips without a label in multi-label data; in other data, class names that may be several labels."""
    if rows.multilabel:
        bare = [row for row, own in enumerate(labels) if not own]
        if not bare:
            return []
        example = next(clip for row, clip in enumerate(rows.ids) if row == bare[0])
        clips_have = counted(len(bare), "clip has", "clips have")
        return [f"{clips_have} no label (for example {example!r}): in a split with labels, none of the classes"]
    known = set(classes)
    several = [name for name in classes if len(parts := split_labels(name)) > 1 and known.issuperset(parts)]
    if not several:
        return []
    are = f"{counted(len(several), 'class is', 'classes are')} made of the names of others"
    return [f"{are}, such as {several[0]!r}: --multilabel reads these as several labels"]


def _segments_ignored(files: list[ListFile]) -> list[str]:
    columns = {
        role: name for file in files for role, name in file.grammar.columns_used().items() if role in ("start", "end")
    }
    what = " and ".join(columns.values())
    return [f"{what} are ignored: entire videos are packed instead of the listed parts"] if columns else []


def _named_classes(files: list[ListFile]) -> tuple[dict[str, str], list[str], list[str]]:
    """Return (class of each spelling, sorted classes, notes) of lists with class names.

    Raises:
        DatasetError: one list has names and another has numbers.
    """
    by_name = [file for file in files if file.by_name]
    numbered = [file for file in files if not file.by_name and (LABEL in file.grammar.columns or file.grammar.numbers)]
    if by_name and numbered:
        what = f"labels are names, but numbers in {numbered[0].path.name}"
        raise DatasetError(what, where=by_name[0].path, hint="give both lists the same kind of label")
    met: dict[str, set[str]] = {}
    for file in by_name:
        for line in file.lines():
            if line.label is not None:
                met.setdefault(line.label, set()).add(line.split or file.split or "train")
    class_of, notes = unify(met)
    return class_of, sorted(set(class_of.values())), notes


# --- which files


def _one(lists: list[_List], split: str, options: DatasetOptions) -> list[_List]:
    """Return the list of a split among several; all of them if they are in folders of their own splits."""
    if len(lists) > 1:
        numbered = [one for one in lists if (m := _SPLIT_NUMBER.search(one[0].stem)) and int(m[1]) == options.split]
        lists = numbered or lists
    if len(lists) > 1:
        word = "frame" if options.sources == "frames" else "video"
        lists = [one for one in lists if word in one[0].stem.lower()] or lists
    if len(lists) > 1 and len({path.read_bytes() for path, *_ in lists}) > 1:
        names = ", ".join(path.name for path, *_ in lists[:4])
        raise DatasetError(
            f"{len(lists)} lists could be the {split} split: {names}", hint="give those to read with --annotations"
        )
    return lists[:1]


def _is_frame_list(path: Path) -> bool:
    first = next((text for _, text in read_lines(path)), "")
    return tuple(first.split()) == _FRAME_HEADER


# --- from lines to rows


@dataclass(frozen=True)
class _Part:
    """The pictures of a source that a line refers to, and their labels."""

    first: int
    last: int | None
    """None: the last that exists."""

    labels: tuple[int, ...]
    relative: bool = True
    """Whether numbers are relative to the first existing picture; otherwise they are as in the file names."""


class _Builder:
    """Converts lines to rows, and records the first occurrence of each label."""

    def __init__(self, rows: Rows, finder: _Finder, tally: Tally, *, apart: bool) -> None:
        """Start with empty `rows`; `apart`: the lists are in several folders, so paths in them are not unique ids."""
        self.rows = rows
        self.met: dict[tuple[str, int], tuple[Path, int]] = {}
        self.names: dict[int, tuple[str, Path, int]] = {}
        """Class names next to the numbers, and their positions."""

        self.listed: set[str] = set()
        self._finder = finder
        self._tally = tally
        self._apart = apart

    def add_list(self, file: ListFile, meaning: _Meaning, label_of: dict[str, int]) -> None:
        """Add the clips of a list that are on disk."""
        path, numbers = file.path, file.grammar.numbers
        for line in file.lines():
            split = line.split or file.split or "train"
            if line.label is not None and not line.values:
                part = _Part(0, None, (label_of[line.label],))
            else:
                part = meaning(line)
                self._name(path, line)
            self.listed.add(split)
            source = self._finder.find(line.path, path, split)
            clip = line.path.removeprefix("./")
            if source is None and self._apart:
                clip = self._finder.place(clip, path)
            elif source is not None and (self._apart or line.path.startswith("/") or "\\" in line.path):
                clip = source.source
            if numbers >= 3:
                clip = f"{clip}:{line.values[0]}-{line.values[1]}"
            if source is None:
                self._met(path, line.number, part.labels)
                self._lack(clip, split, line.path)
                continue
            if source.kind == VIDEO and (part.first > 1 or numbers == MOST_NUMBERS):
                what = "a part of a video is given in frames, but the frame rate is unknown"
                raise fault(
                    path, line.number, what, line.path, hint="such lists are only supported for folders of pictures"
                )
            if clip == source.source:
                clip = source.source  # share one string object
            self._add(clip, split, part, source, path, line.number)

    def _name(self, path: Path, line: Line) -> None:
        """Record the class name next to a number."""
        if line.label is None:
            return
        known, where, first = self.names.setdefault(line.values[-1], (line.label, path, line.number))
        if known != line.label:
            what = f"class {line.values[-1]} is {known!r} in line {first} of {where.name}"
            raise fault(path, line.number, what, line.label, "each number must have one name")

    def add_frame_list(self, path: Path, split: str) -> None:
        """Add the clips of a list with one line per frame, in order."""
        for line, clip, folder, pattern, part in _frame_clips(path):
            source = self._finder.find(folder, path, split)
            self.listed.add(split)
            if len(part.labels) > 1 and not self.rows.multilabel:
                raise fault(path, line, "clip has several labels", clip, "--multilabel accepts them")
            for label in part.labels:
                self._met(path, line, (label,))
            if source is None:
                self._lack(clip, split, clip)
                continue
            for label in part.labels:  # those after the first are added to the clip
                one = replace(part, labels=(label,))
                self._add(clip, split, one, replace(source, pattern=pattern), path, line)

    def _lack(self, clip: str, split: str, example: str) -> None:
        if self.rows.lack(clip, split):
            self._tally.absent(split, "list", example)

    def _met(self, path: Path, line: int, labels: tuple[int, ...]) -> None:
        for head, label in zip(self.rows.heads, labels, strict=False):
            if not UNLABELLED <= label < LARGEST_CLASS:
                raise fault(path, line, "is not a label", label)
            self.met.setdefault((head, label), (path, line))

    def _add(self, clip: str, split: str, part: _Part, source: Source, path: Path, line: int) -> None:
        labels = part.labels + (UNLABELLED,) * (len(self.rows.heads) - len(part.labels))
        self._met(path, line, labels)
        if clip in self.rows and self.rows.multilabel and self.rows.split(clip) == split:
            self.rows.add_label(clip, labels[0])
        elif clip in self.rows:
            if self.rows.labels(clip) != labels and not self.rows.multilabel:
                hint = "--multilabel gives it all of them, if a clip may have several labels"
                raise fault(path, line, "clip is listed twice with different labels", clip, hint)
            same = self.rows.split(clip) == split
            self._tally.repeated(clip, same_split=same)
        elif source.kind == VIDEO:
            self.rows.add(clip, split, labels, source)
        else:
            base = source.first if part.relative else 0
            last = -1 if part.last is None else base + part.last
            self.rows.add(clip, split, labels, source, first=base + part.first, last=last)


_Meaning = Callable[[Line], _Part]


def _meaning(files: list[ListFile], finder: _Finder) -> _Meaning:
    """Determine the meaning of the numbers in these lists, which have the same count of them."""
    numbers = files[0].grammar.numbers
    if numbers < 2:
        return lambda line: _Part(0, None, line.values or (UNLABELLED,))
    sample = [(file.path, line) for file in files for line in islice(file.lines(), _SAMPLE)]
    starts = [line.values[0] for _, line in sample]
    if numbers == 2:
        if all(line.values[1] == -1 for _, line in sample):  # path start total, for entire videos
            return lambda line: _Part(0, None, (UNLABELLED,))
        if set(starts) <= {0, 1} and finder.agree(sample, lambda line: line.values[1]):
            return lambda line: _Part(0, line.values[1] - 1, (UNLABELLED,))
        return lambda line: _Part(0, line.values[0] - 1 if line.values[0] > 0 else None, line.values[1:])
    counted = numbers == 3 and (
        any(line.values[1] < line.values[0] for _, line in sample)
        or (
            not finder.agree(sample, lambda line: line.values[1] - min(starts) + 1)
            and finder.agree(sample, lambda line: line.values[0] + line.values[1])
        )
    )
    if counted:
        return lambda line: _Part(line.values[0], line.values[0] + line.values[1] - 1, line.values[2:])
    relative = 0 in starts  # numbered from 0, whatever the first picture's number
    return lambda line: _Part(line.values[0], line.values[1], line.values[2:], relative=relative)


def _frame_clips(path: Path) -> Iterator[tuple[int, str, str, str, _Part]]:
    """Yield (line, clip, folder, pattern, frames) of a list with one line per frame."""
    began: tuple[int, str, str, tuple[str, str], int, int, tuple[int, ...]] | None = None
    last = 0

    def closed() -> Iterator[tuple[int, str, str, str, _Part]]:
        if began:
            line, clip, folder, (before, after), width, first, labels = began
            pattern = f"{before.replace('%', '%%')}%0{width}d{after}"
            found = tuple(label for label in labels if label != UNLABELLED) or (UNLABELLED,)
            yield line, clip, folder, pattern, _Part(first, last, found, relative=False)

    lines = read_fields(path, " ")
    next(lines, None)
    for number, fields in lines:
        if len(fields) < len(_FRAME_HEADER) - 1:
            raise fault(path, number, f"is not {' '.join(_FRAME_HEADER)}", " ".join(fields))
        clip, _, _, frame, *rest = fields
        match = PICTURE.fullmatch(name_of(frame))
        if not match:
            raise fault(path, number, "is not a numbered picture", frame)
        if began is None or clip != began[1]:
            yield from closed()
            labels = _frame_labels(rest)
            series, width = (match[1], match[3]), len(match[2])
            began = (number, clip, frame.rpartition("/")[0], series, width, int(match[2]), labels)
        elif int(match[2]) != last + 1:
            raise fault(path, number, f"frame {last + 1} of {clip} is missing before this one", frame)
        else:
            began = (*began[:-1], tuple(dict.fromkeys(began[-1] + _frame_labels(rest))))
        last = int(match[2])
    yield from closed()


def _frame_labels(fields: Sequence[str]) -> tuple[int, ...]:
    """Return the labels of a frame, separated by commas; -1 without one."""
    numbers = [one.strip() for one in fields[0].split(",")] if fields else []
    return tuple(int(one) for one in numbers if one.isdecimal()) or (UNLABELLED,)


class _Finder:
    """Finds the source of a path in a list: relative to the root, to the list, or to an unknown folder."""

    def __init__(self, found: Found, options: DatasetOptions) -> None:
        self._root = found.root
        self._sources = Sources(found, options.sources, key=lambda _, name: _composed(name))

    def find(self, written: str, path: Path, split: str | None = None) -> Source | None:
        """Return the source of `written` in the list `path`.

        A path of which only the last parts exist is accepted if these identify the clip.
        """
        if "\\" in written and not (path.parent / written).exists():
            written = written.replace("\\", "/")  # Windows separators
        wanted = _composed(written.removeprefix("./").rstrip("/"))
        name = name_of(wanted)
        ending = suffix(name)
        key = name[: -len(ending)] if ending in VIDEO_SUFFIXES or ending == ".tar" else name
        paths = self._sources.paths(key)
        if not paths:
            return self._outside(written, path)
        bare = wanted[: len(wanted) - len(name)] + key
        places = [_composed(_relative(self._root, path.parent / bare)), bare.removeprefix(f"{self._root}/")]
        tails = {one: _composed(self._without_ending(one)) for one in paths}
        exact = [one for one in paths if tails[one] in places]
        if not exact:
            near = [
                one for one in paths if f"/{tails[one]}".endswith(f"/{bare}") or f"/{bare}".endswith(f"/{tails[one]}")
            ]
            own = [one for one in near if split and f"/{split}" in f"/{one.replace('_', '/')}"]
            exact = own or near
            if not exact and len(paths) == 1 and "/" not in bare:
                exact = paths
            if not exact:
                parts = bare.split("/")
                exact = [one for one in paths if tails[one].split("/")[-2:] == parts[-2:]]
        same = [one for one in exact if suffix(one) == ending] or exact
        return self._sources.find(key, lambda one: one == same[0]) if same else self._outside(written, path)

    def place(self, written: str, path: Path) -> str:
        """Return the expected path of a clip that is not on disk."""
        return _relative(self._root, path.parent / written)

    def agree(self, sample: list[tuple[Path, Line]], count: Callable[[Line], int]) -> bool:
        """Return whether the folders of the sampled lines contain as many pictures as `count` returns."""
        looked = 0
        for path, line in sample:
            source = self.find(line.path, path)
            if source is None or source.kind != FRAMES:
                continue
            head, ending = parts_of(source.pattern)
            folder = self._root / source.source
            pictures = sum(one.name.startswith(head) and one.name.endswith(ending) for one in folder.iterdir())
            if pictures != count(line):
                return False
            looked += 1
            if looked == _LOOKED_AT:
                break
        return looked > 0

    def notes(self) -> list[str]:
        """Return notes on clips that are on disk but not in the lists."""
        return self._sources.notes()

    def _outside(self, written: str, path: Path) -> Source | None:
        """Return a source outside of the root, or one that the scan did not recognise as a clip."""
        if not written:
            return None
        for base in (path.parent, self._root):
            place = base / written
            try:
                if place.is_file() and suffix(place.name) in VIDEO_SUFFIXES:
                    return self._sources.describe(_relative(self._root, place), VIDEO)
                if place.is_dir():
                    return self._sources.describe(_relative(self._root, place), FRAMES)
            except OSError:  # a line too long for a path
                return None
        return None

    @staticmethod
    def _without_ending(path: str) -> str:
        ending = suffix(path)
        return path[: -len(ending)] if ending in VIDEO_SUFFIXES or ending == ".tar" else path


def _composed(text: str) -> str:
    """Return Unicode's composed form, since lists and file systems may differ in it."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _relative(root: Path, place: Path) -> str:
    """Return a path relative to the root, or absolute if outside of it."""
    if ".." in place.parts:
        root, place = root.resolve(), place.resolve()
    return place.relative_to(root).as_posix() if place.is_relative_to(root) else str(place.absolute())


# --- class names


@dataclass(frozen=True)
class _Names:
    classes: dict[str, list[str]]
    order: str
    file: Path | None
    notes: list[str]


def _beside(lists: list[Path]) -> list[Path]:
    return sorted({path for one in lists for path in one.parent.iterdir() if path.is_file()})


def _class_names(builder: _Builder, by_name: list[str], texts: list[Path], options: DatasetOptions) -> _Names:
    """Return the class names: the list's own, those of a class file, or else the numbers."""
    heads = builder.rows.heads
    if by_name:
        return _Names({HEAD: by_name}, "sorted", None, [])
    most = {head: max((label for one, label in builder.met if one == head), default=-1) for head in heads}
    numbers = {head: [str(label) for label in range(count + 1)] for head, count in most.items()}
    if len(heads) > 1:
        return _Names(numbers, "numbers", None, ["the list has no class names"])
    if builder.names and not options.class_list:
        return _beside_numbers(builder.names, numbers[HEAD])
    if options.class_list:
        given = read_class_list(options.class_list)
        _check(given, options.class_list, most[HEAD], builder)
        return _Names({HEAD: given}, f"list {options.class_list.name}", options.class_list, [])
    path, names, notes = find_class_list(texts, most[HEAD])
    if path is None:
        return _Names(numbers, "numbers", None, [*notes, "the list has no class names"])
    _check(names, path, most[HEAD], builder)
    return _Names({HEAD: names}, "file", path, [*notes, f"class names are from {path.name}"])


def _beside_numbers(named: dict[int, tuple[str, Path, int]], numbers: list[str]) -> _Names:
    """Return the names next to the numbers in the list; a number without one is its own name."""
    numbers_of: dict[str, int] = {}
    for number, (name, path, line) in sorted(named.items()):
        if (other := numbers_of.setdefault(name, number)) != number:
            raise fault(
                path, line, f"gives class {number} the name of class {other}", name, "each name must have one number"
            )
    names = [named[number][0] if number in named else text for number, text in enumerate(numbers)]
    return _Names({HEAD: names}, "file", None, ["class names are from the column next to their numbers"])


def _check(names: list[str], file: Path, most: int, builder: _Builder) -> None:
    """Refuse a label that the class file does not contain."""
    if most >= len(names):
        path, line = builder.met[HEAD, most]
        hint = "do its labels count from 1? UCF101's own lists are read as ucf101" if most == len(names) else None
        raise fault(path, line, f"label is not one of the {len(names)} of {file.name}", most, hint)


def detect_list(found: Found, texts: list[Path], options: DatasetOptions) -> str | None:
    """Detect list files; the choice among several is left to the reader."""
    try:
        paths = find_lists(found, texts, options)
        root = found.root
        names = ", ".join(str(path.relative_to(root) if path.is_relative_to(root) else path.name) for path in paths)
    except DatasetError as error:
        names = error.what
    return f"{names}: lists of clips that exist here" if names else None


LIST = DatasetSpec(name="list", title="List files", read=read_list, detect=detect_list)
