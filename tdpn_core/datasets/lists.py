"""List files: a clip a line, in the dialects of the field's code bases.

A line is a path and then numbers; it is split from the right, for paths may hold the separator. What the numbers mean
is told by how many there are, and by a look at the clips:

- `path`;
- `path label`, and `path,class name`;
- `path count label` (TSN and those after it; for a video the count means nothing), `path 0 -1` (unlabelled),
  `path start count` where the folders' sizes say so (VideoMAE V2's pre-training);
- `path first last label`, or `path offset count label` (mmaction2);
- `path first last verb noun`;
- a frame a line, under the header `original_vido_id video_id frame_id path labels` (PySlowFast; the typo is real).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from tdpn_core.datasets.classes import read_class_list
from tdpn_core.datasets.folder import set_aside
from tdpn_core.datasets.options import DatasetOptions
from tdpn_core.datasets.scan import PICTURE, VIDEO_SUFFIXES, Found, name_of, suffix
from tdpn_core.datasets.sources import Sources
from tdpn_core.datasets.table import FRAMES, HEAD, UNLABELLED, VIDEO, Dataset, Rows, Source, Tally, make_dataset
from tdpn_core.datasets.text import fault, read_fields, read_lines
from tdpn_core.datasets.understanding import Reading
from tdpn_core.errors import DatasetError
from tdpn_core.numbered import parts_of

_SPLIT_WORD = re.compile(
    r"(?<![a-z])(train|val|test)(?:ing|idation|id)?(?![a-z])|(?<![a-z])(train|val|test)list", re.IGNORECASE
)
_SPLIT_NUMBER = re.compile(r"(?:split|list)_?0?([123])(?!\d)", re.IGNORECASE)
_CLASS_FILE = re.compile(
    r"(?:.*[_-])?(?:classes|class[_-]?list|class[_-]?names|classind|category|categories|categroies|labels?|label[_-]?list|"
    r"label[_-]?map(?:[_-]\w+)?|labels[_-]to[_-]id)\.(?:txt|csv|json|list)", re.IGNORECASE,
)  # fmt: skip
_ENDINGS = (".txt", ".csv", ".list", ".tsv")
_SEPARATORS = ("\t", "::", ";", ",", " ")
_NUMBER = re.compile(r"-?\d+")
_SAMPLE = 500  # lines that tell the dialect
_LOOKED_AT = 20  # clips of these that are looked for on disk
_MOST_NUMBERS = 4
_FRAME_HEADER = ("original_vido_id", "video_id", "frame_id", "path", "labels")
_PATH_NAMES = ("path", "video_path", "video", "filename", "file", "name", "clip", "id", "video_id", "video_name")
_LABEL_NAMES = ("label", "labels", "class", "class_id", "label_id", "target", "category", "action")


@dataclass(frozen=True)
class _Line:
    number: int
    path: str
    values: tuple[int, ...]
    label: str | None = None
    """A class by name."""


@dataclass(frozen=True)
class _Dialect:
    separator: str
    numbers: int
    """Behind the path."""

    named: bool = False
    """The last field is a class's name."""

    header: tuple[int, int] | None = None
    """Columns of path and label, where the first line names columns."""


def find_lists(found: Found, texts: list[Path], options: DatasetOptions) -> dict[str, Path]:
    """The list file of each split; a lone file that was named and whose name says no split is `train`.

    Files that nobody named must say their split, and name clips that are on disk. Of several for one split, that of
    `options.split` is taken, then that of the wanted sources.

    Raises:
        DatasetError: several files could be the list of one split.
    """
    return _find_lists(texts, options, _Finder(found, options))


def _find_lists(texts: list[Path], options: DatasetOptions, finder: _Finder) -> dict[str, Path]:
    by_split: dict[str, list[Path]] = {}
    named = options.annotation_paths()
    for path in texts:
        if path.suffix.lower() in _ENDINGS and not _CLASS_FILE.fullmatch(path.name):
            split = _split_of(path)
            if split or (path in named and len(named) == 1):
                by_split.setdefault(split or "train", []).append(path)
    lists = {}
    for split in ("train", "val", "test"):
        paths = [path for path in by_split.get(split, ()) if path in named or _is_list(path, finder)]
        if paths:
            lists[split] = _one(paths, split, options)
    return lists


def read_list(found: Found, texts: list[Path], options: DatasetOptions) -> Dataset:
    """A table of the clips that list files name.

    Raises:
        DatasetError: no lists, several for one split, no clips, or a fault in a list.
    """
    finder, tally = _Finder(found, options), Tally()
    lists = _find_lists(texts, options, finder)
    if not lists:
        hint = "expected train and val lists (train.txt, val.list, …) under the root; else name them as annotations"
        raise DatasetError("no list files whose clips are on disk", where=found.root, hint=hint)
    frame_lists = {split: path for split, path in lists.items() if _is_frame_list(path)}
    dialects = {split: _dialect(path, finder) for split, path in lists.items() if split not in frame_lists}
    widest = max((dialect.numbers for dialect in dialects.values()), default=1)
    heads = ["verb", "noun"] if widest == _MOST_NUMBERS else [HEAD]
    by_name = sorted({line.label for split, dialect in dialects.items() if dialect.named
                      for line in _lines(lists[split], dialect) if line.label is not None})  # fmt: skip
    label_of = {name: label for label, name in enumerate(by_name)}
    builder = _Builder(heads, finder, tally)
    for split, path in lists.items():
        if split in frame_lists:
            builder.add_frame_list(path, split)
        else:
            alike = [one for one, dialect in dialects.items() if dialect.numbers == dialects[split].numbers]
            meaning = _meaning([(lists[one], dialects[one]) for one in alike], finder)
            builder.add_list(path, split, dialects[split], meaning, label_of)
    names = _class_names(
        builder, by_name, [*texts, *_beside(lists), *(found.root / text for text in found.texts)], options
    )
    used = [*lists.values(), *([names.file] if names.file else [])]
    notes = found.notes(used) + tally.notes() + finder.notes() + names.notes
    rows = builder.rows
    del builder, finder  # as large as the table
    if not len(rows):
        raise DatasetError("not one clip of the lists is on disk", where=found.root, hint="; ".join(notes))
    main = names.classes[heads[0]]
    labels = [main[label] if label >= 0 else "" for label in rows.first_labels]
    groups = set_aside(rows.splits, rows.sources.__getitem__, labels, options.seed, notes)
    drawn = {clip: groups[row] for row, clip in enumerate(rows.ids) if row in groups}
    reading = Reading("list files: a clip a line", tuple(used))
    return make_dataset(
        "list",
        found.root,
        rows,
        names.classes,
        reading=reading,
        label_order=names.order,
        notes=notes,
        listed=lists,
        groups=drawn,
        seed=options.seed,
    )


# --- which files, and what their lines mean


def _split_of(path: Path) -> str | None:
    match = _SPLIT_WORD.search(path.stem)
    return (match[1] or match[2]).lower() if match else None


def _one(paths: list[Path], split: str, options: DatasetOptions) -> Path:
    """The list of a split among several."""
    if len(paths) > 1:
        numbered = [path for path in paths if (m := _SPLIT_NUMBER.search(path.stem)) and int(m[1]) == options.split]
        paths = numbered or paths
    if len(paths) > 1:
        word = "frame" if options.sources == "frames" else "video"
        paths = [path for path in paths if word in path.stem.lower()] or paths
    if len(paths) > 1 and len({path.read_bytes() for path in paths}) > 1:
        names = ", ".join(path.name for path in paths[:4])
        raise DatasetError(f"{len(paths)} lists could be the {split} split: {names}", hint="name those to read")
    return paths[0]


def _is_list(path: Path, finder: _Finder) -> bool:
    """Whether a file that nobody named is a list of clips, of which some are on disk."""
    try:
        if _is_frame_list(path):
            return True
        lines = [text for _, text in islice(read_lines(path), _SAMPLE)]
        dialect = _guess(lines)
        if dialect is None:
            return False
        sample = islice(_lines(path, _settled(dialect, lines, path, finder)), _LOOKED_AT)
        return any(finder.find(line.path, path) is not None for line in sample)
    except DatasetError:  # some other file
        return False


def _is_frame_list(path: Path) -> bool:
    first = next((text for _, text in read_lines(path)), "")
    return tuple(first.split()) == _FRAME_HEADER


def _guess(lines: list[str]) -> _Dialect | None:
    """The dialect of the first lines by their looks alone; None if they are no list."""
    if not lines:
        return None
    for separator in _SEPARATORS:
        counts = [_trailing_numbers(line, separator) for line in lines]
        if min(counts) > 0:
            return _Dialect(separator, min(counts))
        if len(lines) > 1 and counts[0] == 0 and min(counts[1:]) > 0:
            header = [field.strip().lower() for field in lines[0].split(separator)]
            if places := _columns(header):
                return _Dialect(separator, 1, header=places)
    for separator in _SEPARATORS[:-1]:
        fields = [line.split(separator) for line in lines]
        if all(len(each) >= 2 for each in fields):
            places = _columns([field.strip().lower() for field in fields[0]])
            return _Dialect(separator, 1, named=True, header=places) if places else _Dialect(separator, 1, named=True)
    return _Dialect("\n", 0)


def _columns(header: list[str]) -> tuple[int, int] | None:
    path = next((header.index(name) for name in _PATH_NAMES if name in header), None)
    label = next((header.index(name) for name in _LABEL_NAMES if name in header), None)
    return None if path is None or label is None else (path, label)


def _trailing_numbers(line: str, separator: str) -> int:
    """How many fields from the right are numbers; the first field is the path."""
    fields = line.split(separator) if separator != " " else line.split()
    count = 0
    for field in reversed(fields[1:]):
        if count == _MOST_NUMBERS or not _NUMBER.fullmatch(field.strip()):
            break
        count += 1
    return count


def _dialect(path: Path, finder: _Finder) -> _Dialect:
    """What the lines of a list mean."""
    lines = [text for _, text in islice(read_lines(path), _SAMPLE)]
    guess = _guess(lines)
    if guess is None:
        raise DatasetError("is empty", where=path)
    return _settled(guess, lines, path, finder)


def _settled(guess: _Dialect, lines: list[str], path: Path, finder: _Finder) -> _Dialect:
    """The guess, corrected by what is on disk: a path could itself end in a number."""
    if guess.separator != " " or guess.header or guess.named:
        return guess
    sample = lines[:: max(1, len(lines) // _LOOKED_AT)]
    hits = {
        numbers: sum(finder.find(_rest(line, " ", numbers)[0], path) is not None for line in sample)
        for numbers in range(guess.numbers, -1, -1)
    }
    return _Dialect(" ", max(hits, key=lambda numbers: hits[numbers]))


def _rest(line: str, separator: str, numbers: int) -> tuple[str, list[str]]:
    """The path of a line and the `numbers` fields behind it."""
    if not numbers:
        return line, []
    parts = line.rsplit(separator if separator != " " else None, numbers)
    return parts[0].strip().strip('"'), [part.strip() for part in parts[1:]]


def _lines(path: Path, dialect: _Dialect) -> Iterator[_Line]:
    """The lines of a list in its dialect."""
    if dialect.header:
        rows = read_fields(path, dialect.separator)
        next(rows, None)
        for number, fields in rows:
            if len(fields) <= max(dialect.header):
                raise fault(path, number, "has fewer fields than the header", dialect.separator.join(fields))
            name, label = (fields[place] for place in dialect.header)
            yield _line(path, number, name, [label], dialect)
        return
    for number, text in read_lines(path):
        name, values = _rest(text, dialect.separator, dialect.numbers)
        if len(values) < dialect.numbers or not name:
            raise fault(path, number, f"is not a path and {dialect.numbers} fields", text)
        yield _line(path, number, name, values, dialect)


def _line(path: Path, number: int, name: str, values: list[str], dialect: _Dialect) -> _Line:
    if dialect.named:
        return _Line(number, name, (), values[-1].strip('"'))
    for value in values:
        if not _NUMBER.fullmatch(value):
            raise fault(path, number, "is no number", value)
    return _Line(number, name, tuple(map(int, values)))


# --- from lines to rows


@dataclass(frozen=True)
class _Part:
    """Which pictures of a source a line means, and their labels."""

    first: int
    last: int | None
    """None: the last there is."""

    labels: tuple[int, ...]
    relative: bool = True
    """Counted from the first picture there is, whatever its number; else numbers as in the names."""


class _Builder:
    """Rows from lines, and where each label was met first."""

    def __init__(self, heads: list[str], finder: _Finder, tally: Tally) -> None:
        self.rows = Rows(heads)
        self.met: dict[tuple[str, int], tuple[Path, int]] = {}
        self._finder = finder
        self._tally = tally

    def add_list(self, path: Path, split: str, dialect: _Dialect, meaning: _Meaning, label_of: dict[str, int]) -> None:
        """Add the clips of a list that are on disk."""
        for line in _lines(path, dialect):
            part = meaning(line) if line.label is None else _Part(0, None, (label_of[line.label],))
            source = self._finder.find(line.path, path, split)
            clip = line.path.removeprefix("./")
            if source is not None and line.path.startswith("/"):
                clip = source.source
            if dialect.numbers >= 3:
                clip = f"{clip}:{line.values[0]}-{line.values[1]}"
            if source is None:
                self._met(path, line.number, part.labels)
                self._lack(clip, split, line.path)
                continue
            if source.kind == VIDEO and (part.first > 1 or dialect.numbers == _MOST_NUMBERS):
                what = "a part of a video is given in frames, whose rate is not known"
                raise fault(path, line.number, what, line.path, hint="lists of parts are for folders of pictures")
            if clip == source.source:
                clip = source.source  # one string, not two that are equal
            self._add(clip, split, part, source, path, line.number)

    def add_frame_list(self, path: Path, split: str) -> None:
        """Add the clips of a list that has a line a frame, in order."""
        for line, clip, folder, pattern, part in _frame_clips(path):
            source = self._finder.find(folder, path, split)
            if source is None:
                self._met(path, line, part.labels)
                self._lack(clip, split, clip)
            else:
                self._add(clip, split, part, replace(source, pattern=pattern), path, line)

    def _lack(self, clip: str, split: str, example: str) -> None:
        if self.rows.lack(clip, split):
            self._tally.add(f"{split} clips of the list are not on disk", example)

    def _met(self, path: Path, line: int, labels: tuple[int, ...]) -> None:
        for head, label in zip(self.rows.heads, labels, strict=False):
            if label < UNLABELLED:
                raise fault(path, line, "is no label", label)
            self.met.setdefault((head, label), (path, line))

    def _add(self, clip: str, split: str, part: _Part, source: Source, path: Path, line: int) -> None:
        labels = part.labels + (UNLABELLED,) * (len(self.rows.heads) - len(part.labels))
        self._met(path, line, labels)
        if clip in self.rows:
            if self.rows.labels(clip) != labels:
                raise fault(path, line, "clip is there twice, with two labels", clip)
            same = self.rows.split(clip) == split
            self._tally.add("clips appear more than once and are taken once" if same else
                            "clips are in two splits and taken in the first", clip)  # fmt: skip
        elif source.kind == VIDEO:
            self.rows.add(clip, split, labels, source)
        else:
            base = source.first if part.relative else 0
            last = -1 if part.last is None else base + part.last
            self.rows.add(clip, split, labels, source, first=base + part.first, last=last)


_Meaning = Callable[[_Line], _Part]


def _meaning(lists: list[tuple[Path, _Dialect]], finder: _Finder) -> _Meaning:
    """What the numbers of a line mean in these lists of one dialect."""
    numbers = lists[0][1].numbers
    if numbers < 2:
        return lambda line: _Part(0, None, line.values or (UNLABELLED,))
    sample = [(path, line) for path, dialect in lists for line in islice(_lines(path, dialect), _SAMPLE)]
    starts = [line.values[0] for _, line in sample]
    if numbers == 2:
        if all(line.values[1] == -1 for _, line in sample):  # path start total, of whole videos
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
    relative = 0 in starts  # counted from 0, whatever the first picture is called
    return lambda line: _Part(line.values[0], line.values[1], line.values[2:], relative=relative)


def _frame_clips(path: Path) -> Iterator[tuple[int, str, str, str, _Part]]:
    """(line, clip, folder, pattern, frames) of a list that has a line a frame."""
    began: tuple[int, str, str, tuple[str, str], int, int, tuple[int, ...]] | None = None
    last = 0

    def closed() -> Iterator[tuple[int, str, str, str, _Part]]:
        if began:
            line, clip, folder, (before, after), width, first, labels = began
            pattern = f"{before.replace('%', '%%')}%0{width}d{after}"
            yield line, clip, folder, pattern, _Part(first, last, labels, relative=False)

    lines = read_fields(path, " ")
    next(lines, None)
    for number, fields in lines:
        if len(fields) < len(_FRAME_HEADER) - 1:
            raise fault(path, number, f"is not {' '.join(_FRAME_HEADER)}", " ".join(fields))
        clip, _, _, frame, *rest = fields
        match = PICTURE.fullmatch(name_of(frame))
        if not match:
            raise fault(path, number, "is no numbered picture", frame)
        if began is None or clip != began[1]:
            yield from closed()
            labels = (int(rest[0]),) if rest and rest[0].isdecimal() else (UNLABELLED,)
            series, width = (match[1], match[3]), len(match[2])
            began = (number, clip, frame.rpartition("/")[0], series, width, int(match[2]), labels)
        elif int(match[2]) != last + 1:
            raise fault(path, number, f"frame {last + 1} of {clip} is missing before this one", frame)
        last = int(match[2])
    yield from closed()


class _Finder:
    """The source of a path as a list writes it: relative to the root, to the list, or to a folder that is not known."""

    def __init__(self, found: Found, options: DatasetOptions) -> None:
        self._root = found.root
        self._sources = Sources(found, options.sources)

    def find(self, written: str, path: Path, split: str | None = None) -> Source | None:
        """The source of `written` in the list `path`.

        A path of which only the last parts are there counts as found if these tell the clip.
        """
        wanted = written.removeprefix("./").rstrip("/")
        name = name_of(wanted)
        ending = suffix(name)
        key = name[: -len(ending)] if ending in VIDEO_SUFFIXES or ending == ".tar" else name
        paths = self._sources.paths(key)
        if not paths:
            return self._outside(written, path)
        bare = wanted[: len(wanted) - len(name)] + key
        places = [_relative(self._root, path.parent / bare), bare.removeprefix(f"{self._root}/")]
        tails = {one: self._without_ending(one) for one in paths}
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

    def agree(self, sample: list[tuple[Path, _Line]], count: Callable[[_Line], int]) -> bool:
        """Whether the folders of the sampled lines hold as many pictures as `count` says."""
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
        """What is on disk and not in the lists."""
        return self._sources.notes()

    def _outside(self, written: str, path: Path) -> Source | None:
        """A path that leads out of the root, or to a file that the scan did not take for a clip."""
        if not written:
            return None
        for base in (path.parent, self._root):
            place = base / written
            try:
                if place.is_file() and suffix(place.name) in VIDEO_SUFFIXES:
                    return self._sources.describe(_relative(self._root, place), VIDEO)
                if place.is_dir():
                    return self._sources.describe(_relative(self._root, place), FRAMES)
            except OSError:  # a line that is too long for a path
                return None
        return None

    @staticmethod
    def _without_ending(path: str) -> str:
        ending = suffix(path)
        return path[: -len(ending)] if ending in VIDEO_SUFFIXES or ending == ".tar" else path


def _relative(root: Path, place: Path) -> str:
    """A path relative to the root, or absolute where it lies outside."""
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


def _beside(lists: dict[str, Path]) -> list[Path]:
    return sorted({path for one in lists.values() for path in one.parent.iterdir() if path.is_file()})


def _class_names(builder: _Builder, by_name: list[str], texts: list[Path], options: DatasetOptions) -> _Names:
    """The names of the classes: the list's own, those of a class file, or else their numbers."""
    heads = builder.rows.heads
    if by_name:
        return _Names({HEAD: by_name}, "sorted", None, [])
    most = {head: max((label for one, label in builder.met if one == head), default=-1) for head in heads}
    numbers = {head: [str(label) for label in range(count + 1)] for head, count in most.items()}
    if len(heads) > 1:
        return _Names(numbers, "numbers", None, ["the classes of the list have no names"])
    if options.class_list:
        given = read_class_list(options.class_list)
        _check(given, options.class_list, most[HEAD], builder)
        return _Names({HEAD: given}, f"list {options.class_list.name}", options.class_list, [])
    files = {path.resolve(): path for path in texts if _CLASS_FILE.fullmatch(path.name)}
    read, notes = {}, []
    for path in files.values():
        try:
            read[path] = read_class_list(path)
        except DatasetError as error:
            notes.append(f"{path.name} gives the classes no names: {error.what}")
    if len(read) > 1:  # those of other data sets lie about
        read = {path: names for path, names in read.items() if len(names) > most[HEAD]}
    if len({tuple(names) for names in read.values()}) > 1:
        notes.append(
            f"{', '.join(path.name for path in read)} name the classes differently: give one as the class list"
        )
        read = {}
    if not read:
        return _Names(numbers, "numbers", None, [*notes, "the classes of the list have no names"])
    path, names = next(iter(read.items()))
    _check(names, path, most[HEAD], builder)
    return _Names({HEAD: names}, "file", path, [*notes, f"classes are named by {path.name}"])


def _check(names: list[str], file: Path, most: int, builder: _Builder) -> None:
    """Raise for a label that the class file does not have."""
    if most >= len(names):
        path, line = builder.met[HEAD, most]
        hint = "do its labels count from 1? UCF101's own lists are read as ucf101" if most == len(names) else None
        raise fault(path, line, f"label is not one of the {len(names)} of {file.name}", most, hint)
