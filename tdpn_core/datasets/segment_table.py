"""Time-annotated videos: a clip for each segment of the annotation files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path

from tdpn_core import defaults
from tdpn_core.datasets.annotation_io import place_in
from tdpn_core.datasets.annotations.formats import TABLE, Format, format_of
from tdpn_core.datasets.annotations.segment import EVERY
from tdpn_core.datasets.background import is_background
from tdpn_core.datasets.class_names import find_class_list, read_class_list
from tdpn_core.datasets.clip_table import HEAD, TAR, VIDEO, Dataset, Rows, Source, Tally, make_dataset
from tdpn_core.datasets.media_index import Sources
from tdpn_core.datasets.options import DatasetOptions
from tdpn_core.datasets.scan import VIDEO_SUFFIXES, Found, name_of, stem, suffix
from tdpn_core.datasets.segments import Annotations, Segment, read_segments
from tdpn_core.datasets.spec import DatasetSpec
from tdpn_core.datasets.spelling import unify
from tdpn_core.datasets.splits import split_of_path
from tdpn_core.datasets.train_val_split import draw_split, find_groups
from tdpn_core.datasets.understanding import OddLine, Reading
from tdpn_core.errors import DatasetError
from tdpn_core.wording import agree, counted

_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")  # Label Studio's prefix of uploaded files
_SHOWN = 3


@dataclass(frozen=True)
class _Part:
    """A segment, its split, and its place in the files."""

    segment: Segment
    split: str
    path: Path

    @property
    def place(self) -> str:
        return f"{self.path.name} {place_in(self.path, self.segment.line)}"

    def __str__(self) -> str:
        one = self.segment
        unit = "frames" if one.in_frames else "s"
        return f"{one.label!r} ({one.start:g} to {one.stop:g} {unit}, {self.place})"


def read_segment_files(found: Found, paths: Sequence[Path], options: DatasetOptions, *, name: str) -> Dataset:
    """Return the table of the segments in annotation files; called `name`.

    A segment in frames of a video has its first and last frame in the table; `prep` converts them to seconds at the
    video's rate and checks that segments end within their videos.

    Raises:
        DatasetError: a file is malformed, a video has several splits, segments with different labels overlap and
            `options.overlaps` is `refuse`, or no video is on disk.
    """
    files = [read_segments(path) for path in paths]
    parts = list(_parts(files, found.root))
    notes = found.notes(paths) + [note for file in files for note in file.notes] + _odd_notes(files)
    labelled = _labelled(parts, options, notes)
    met: dict[str, set[str]] = {}
    for part, own in labelled:
        for label in own:
            met.setdefault(label, set()).add(part.split)
    class_of, spelled = unify(met)
    classes = _classes(sorted(set(class_of.values())), found, paths, options)
    if options.background and not options.multilabel and not any(map(is_background, classes.names)):
        classes = classes.with_background()
    rows, places = Rows([HEAD], multilabel=options.multilabel), {}
    finder, tally = _Finder(found, options), Tally()
    for part, own in labelled:
        first, *others = [classes.label_of[class_of[label]] for label in own]
        source = finder.find(part.segment.video)
        clip = _video_id(part, source) if options.ignore_segments else _id(part, source, first, rows)
        if clip is None:
            tally.repeated(str(part), what="segment")
        elif source is None:
            if rows.lack(clip, part.split):
                tally.without_video(part.split, part.segment.video)
        elif options.ignore_segments:
            rows.add(clip, part.split, (first,), source)
        else:
            _add(rows, clip, part, first, source)
            places[clip] = part.place
        if clip is not None and source is not None:
            for number in others:
                rows.add_label(clip, number)
    notes += spelled + classes.notes + tally.notes() + finder.notes()
    missing = sorted({video for file in files for video in file.videos if finder.find(video) is None})
    if missing:
        some = ", ".join(missing[:10])
        notes.append(
            f"{counted(len(missing), 'annotated video')} {agree(len(missing), 'is', 'are')} not on disk: {some}"
        )
    groups = _set_aside(rows, classes.names, options.seed, notes)
    dataset = make_dataset(
        name,
        found.root,
        rows,
        {HEAD: classes.names},
        reading=_reading(files),
        label_order=classes.order,
        notes=notes,
        listed={part.split for part in parts},
        groups=groups,
        seed=options.seed,
    )
    dataset.unfitted.update(places)
    if options.ignore_segments:
        notes.append("times are ignored: entire videos are packed instead of the annotated parts")
    elif options.background:
        dataset.annotated.update(_annotated(files, finder, notes))
    return dataset


def _annotated(
    files: Sequence[Annotations], finder: _Finder, notes: list[str]
) -> dict[str, list[tuple[float, float, bool]]]:
    """Return all segments by source, of the videos that have some, and none that cannot be read."""
    spans: dict[str, list[tuple[float, float, bool]]] = {}
    partial: set[str] = set()
    for file in files:
        lacking = file.videos if EVERY in file.incomplete else file.incomplete
        partial.update(source.source for video in lacking if (source := finder.find(video)))
        for one in file.segments:
            if (source := finder.find(one.video)) and source.kind == VIDEO:
                spans.setdefault(source.source, []).append((one.start, one.stop, one.in_frames))
    unused = sorted(partial & set(spans))
    if unused:
        some = ", ".join(unused[:_SHOWN])
        what = f"{counted(len(unused), 'video')} {agree(len(unused), 'has', 'have')} an entry that cannot be read and"
        notes.append(f"{what} {agree(len(unused), 'gives', 'give')} no background clips: {some}")
    return {source: found for source, found in spans.items() if source not in partial}


@dataclass(frozen=True)
class _Classes:
    """The classes of the segments."""

    names: list[str]
    label_of: dict[str, int]
    """By spelling in the annotations."""

    order: str
    notes: list[str] = field(default_factory=list)

    def with_background(self) -> _Classes:
        """Return these classes and the background, in sorted order unless a file has numbered them."""
        if self.order != "sorted":
            return replace(self, names=[*self.names, defaults.BACKGROUND])
        names = sorted([*self.names, defaults.BACKGROUND])
        return replace(self, names=names, label_of={name: names.index(name) for name in self.names})


def _classes(spelled: list[str], found: Found, paths: Sequence[Path], options: DatasetOptions) -> _Classes:
    """Return the classes; labels that are numbers are named by a class file, as in lists of entire clips.

    Raises:
        DatasetError: a number is not in the class file.
    """
    if not spelled or not all(name.isdecimal() for name in spelled):
        return _Classes(spelled, {name: label for label, name in enumerate(spelled)}, "sorted")
    most = max(map(int, spelled))
    beside = (file for one in paths for file in sorted(one.parent.iterdir()) if file.is_file())
    texts = [options.class_list] if options.class_list else [*beside, *(found.root / text for text in found.texts)]
    path, names, notes = (
        (texts[0], read_class_list(texts[0]), []) if options.class_list else find_class_list(texts, most)
    )
    if path is None:
        names = sorted(spelled, key=int)
        notes = [
            *notes,
            "labels of segments are numbers, and there is no class file: they are the names of the classes",
        ]
        return _Classes(names, {name: label for label, name in enumerate(names)}, "numbers", notes)
    if most >= len(names):
        hint = "do the labels count from 1?" if most == len(names) else None
        raise DatasetError(f"has {len(names)} classes, and a segment has the label {most}", where=path, hint=hint)
    order = f"list {path.name}" if options.class_list else "file"
    return _Classes(names, {name: int(name) for name in spelled}, order, [*notes, f"class names are from {path.name}"])


def _parts(files: Sequence[Annotations], root: Path) -> Iterator[_Part]:
    """Yield all segments with their splits.

    Raises:
        DatasetError: a video has several splits.
    """
    splits: dict[str, tuple[str, Path]] = {}
    for file in files:
        whole = split_of_path(file.path, root)
        for video in file.videos:
            split = file.splits.get(video) or whole or "train"
            known, where = splits.setdefault(_key(video), (split, file.path))
            if known != split:
                what = f"video {video!r} is in {split}, and in {known} in {where.name}"
                raise DatasetError(what, where=file.path, hint="put all segments of a video into one split")
        for segment in file.segments:
            yield _Part(segment, splits[_key(segment.video)][0], file.path)


def _labelled(parts: list[_Part], options: DatasetOptions, notes: list[str]) -> list[tuple[_Part, list[str]]]:
    """Return the parts that become clips, and the labels of each: several only in multi-label data.

    Raises:
        DatasetError: without `options.multilabel`, a clip would have several labels.
    """
    if options.ignore_segments:
        return _whole_videos(parts, options)
    if not options.multilabel:
        return [(part, [part.segment.label]) for part in _without_overlaps(parts, options, notes)]
    videos: dict[tuple[str, bool], list[_Part]] = {}
    for part in parts:
        videos.setdefault((_key(part.segment.video), part.segment.in_frames), []).append(part)
    joined: dict[tuple[str, bool, float, float], tuple[_Part, list[str]]] = {}
    for (video, in_frames), own in videos.items():
        for part in own:
            one = part.segment
            if (video, in_frames, one.start, one.stop) not in joined:
                covering = [other.segment.label for other in own if _covers(other.segment, one)]
                joined[video, in_frames, one.start, one.stop] = part, list(dict.fromkeys(covering))
    return list(joined.values())


def _covers(one: Segment, clip: Segment) -> bool:
    """Return whether a segment covers at least half of a clip."""
    return 2 * (min(one.stop, clip.stop) - max(one.start, clip.start)) >= clip.duration


def _whole_videos(parts: list[_Part], options: DatasetOptions) -> list[tuple[_Part, list[str]]]:
    """Return a part for each video, and the labels of all its segments.

    Raises:
        DatasetError: without `options.multilabel`, a video has segments with different labels.
    """
    videos: dict[str, tuple[_Part, list[str]]] = {}
    for part in parts:
        first, labels = videos.setdefault(_key(part.segment.video), (part, []))
        if part.segment.label in labels:
            continue
        labels.append(part.segment.label)
        if len(labels) > 1 and not options.multilabel:
            what = f"{part.segment.video} has segments with different labels: {first} and {part}"
            hint = "keep all labels with --multilabel, or pack the segments without --ignore-segments"
            raise DatasetError(what, where=part.path, hint=hint)
    return list(videos.values())


def _without_overlaps(parts: list[_Part], options: DatasetOptions, notes: list[str]) -> list[_Part]:
    """Return the parts to use where segments of one video with different labels overlap.

    Raises:
        DatasetError: some overlap, and the choice is `refuse`.
    """
    left: set[int] = set()
    pairs = 0
    order = sorted(range(len(parts)), key=lambda row: (_key(parts[row].segment.video), parts[row].segment.in_frames,
                                                       parts[row].segment.start, row))  # fmt: skip
    by_video = groupby(order, key=lambda row: (_key(parts[row].segment.video), parts[row].segment.in_frames))
    for _, rows in by_video:
        open_rows: list[int] = []
        for row in rows:
            one = parts[row].segment
            open_rows = [other for other in open_rows if parts[other].segment.stop > one.start]
            for other in open_rows:
                if parts[other].segment.label == one.label or {row, other} & left:
                    continue
                pairs += 1
                if options.overlaps == "refuse":
                    what = f"{one.video}: {parts[row]} overlaps {parts[other]}"
                    hint = (
                        "--multilabel makes clips with both labels; --overlaps keep, first or longest keeps one label"
                    )
                    raise DatasetError(what, where=parts[row].path, hint=hint)
                if options.overlaps != "keep":
                    longer = one.duration > parts[other].segment.duration
                    left.add(other if options.overlaps == "longest" and longer else row)
            open_rows.append(row)
    if pairs and options.overlaps == "keep":
        notes.append(f"{counted(pairs, 'pair')} of segments with different labels overlap: both are used")
    elif left:
        some = "; ".join(str(parts[row]) for row in sorted(left)[:_SHOWN])
        are = agree(len(left), "is", "are")
        notes.append(f"{counted(len(left), 'segment')} {are} left out, overlapping one with another label: {some}")
    return [part for row, part in enumerate(parts) if row not in left]


def _video_id(part: _Part, source: Source | None) -> str:
    return part.segment.video if source is None else source.source


def _id(part: _Part, source: Source | None, label: int, rows: Rows) -> str | None:
    """Return the clip's id, its video and times; None if the same segment exists."""
    one = part.segment
    if source is None:
        video = one.video
    else:
        ending = suffix(source.source)
        video = source.source[: -len(ending)] if ending in VIDEO_SUFFIXES or source.kind == TAR else source.source
    times = f"f{one.start:.0f}-{one.stop - 1:.0f}" if one.in_frames else f"{_short(one.start)}-{_short(one.stop)}"
    clip = f"{video}:{times}"
    if clip not in rows or rows.labels(clip) == (label,):
        return None if clip in rows else clip
    several = f"{clip}:{one.label}"
    return None if several in rows else several


def _short(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def _add(rows: Rows, clip: str, part: _Part, label: int, source: Source) -> None:
    one = part.segment
    if one.in_frames:
        base = 0 if source.kind == VIDEO else source.first
        rows.add(clip, part.split, (label,), source, first=base + int(one.start), last=base + int(one.stop) - 1)
    elif source.kind == VIDEO:
        rows.add(clip, part.split, (label,), source, start=one.start, stop=one.stop)
    else:
        what = f"{part.place}: {one.video} is a folder or tar of pictures, which have no times in seconds"
        raise DatasetError(what, where=part.path, hint="annotate frames (start_frame, end_frame), or give the videos")


def _set_aside(rows: Rows, names: Sequence[str], seed: int, notes: list[str]) -> dict[str, str]:
    """Use a fifth of the training segments for validation if there is none; a video's segments stay together."""
    if "val" in rows.splits or "train" not in rows.splits:
        return {}
    pool = [row for row, split in enumerate(rows.splits) if split == "train"]
    videos = sorted({rows.sources[row] for row in pool})
    grouping = find_groups(videos, [""] * len(videos))
    group_of = dict(zip(videos, grouping.groups, strict=True))
    groups = [group_of[rows.sources[row]] for row in pool]
    classes = [[names[label] for label in rows.all_labels(row)] for row in pool]
    drawn, note = draw_split(groups, classes, seed, noun="segment")
    for row, split in zip(pool, drawn, strict=True):
        rows.splits[row] = split
    notes.append(note)
    ids = list(rows.ids)
    return {ids[row]: group for row, group in zip(pool, groups, strict=True)}


def _odd_notes(files: Sequence[Annotations]) -> list[str]:
    return [
        f"{file.path.name}: {counted(len(file.odd), 'entry is', 'entries are')} left out" for file in files if file.odd
    ]


def _reading(files: Sequence[Annotations]) -> Reading:
    columns: dict[str, str] = {}
    for file in files:
        columns |= file.columns
    ignored = dict.fromkeys(name for file in files for name in file.ignored)
    odd: tuple[OddLine, ...] = tuple(odd for file in files for odd in file.odd)
    layouts = ", ".join(dict.fromkeys(file.layout for file in files))
    return Reading(f"segments of videos ({layouts})", tuple(file.path for file in files), columns, tuple(ignored), odd)


def _key(video: str) -> str:
    """Return the file name without a video's suffix, in composed Unicode."""
    name = name_of(re.split(r"[?=]", video.replace("\\", "/"))[-1].rstrip("/"))
    return unicodedata.normalize("NFC", stem(name) if suffix(name) in VIDEO_SUFFIXES else name)


class _Finder:
    """Finds videos by name, with or without suffix."""

    def __init__(self, found: Found, options: DatasetOptions) -> None:
        self._sources = Sources(found, options.sources, key=lambda _, name: unicodedata.normalize("NFC", name))
        self._known: dict[str, Source | None] = {}
        self._respelled: dict[str, str] = {}

    def find(self, video: str) -> Source | None:
        """Return the source of a video.

        Raises:
            DatasetError: several videos have this name.
        """
        if video not in self._known:
            self._known[video] = self._find(video)
        return self._known[video]

    def _find(self, video: str) -> Source | None:
        key = _key(video)
        uploaded = _UPLOADED.fullmatch(key)
        for one in (key, f"v_{key}", *([uploaded[1]] if uploaded else [])):
            paths = self._sources.paths(one)
            written = video.replace("\\", "/")
            same = [path for path in paths if f"/{written}".endswith(f"/{path}") or f"/{path}".endswith(f"/{written}")
                    or f"/{path}".endswith(f"/{written}{suffix(path)}")]  # fmt: skip
            folders = {path[: -len(suffix(path))] if suffix(path) in VIDEO_SUFFIXES else path for path in same or paths}
            if len(folders) > 1:
                what = f"{len(folders)} videos are called {one!r}: {', '.join(sorted(folders)[:_SHOWN])}"
                raise DatasetError(what, hint="write their folders in the annotations, too")
            if paths:
                best = (same or paths)[0]
                return self._sources.find(one, lambda path, best=best: path == best)  # type: ignore[misc]
        alike = self._by_case.get(key.casefold(), [])
        if len(alike) != 1:
            return None
        self._respelled[video] = alike[0]
        return self._sources.find(alike[0])

    @cached_property
    def _by_case(self) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        for name in sorted(self._sources.keys()):
            names.setdefault(name.casefold(), []).append(name)
        return names

    def notes(self) -> list[str]:
        """Return notes on videos without annotations, and on those that are spelled otherwise."""
        some = ", ".join(f"{video!r} is {name!r}" for video, name in list(self._respelled.items())[:_SHOWN])
        other = [f"names of videos differ from the annotations in case: {some}"] if some else []
        return other + self._sources.notes()


def _recognised(texts: Iterable[Path]) -> tuple[dict[Path, Format], list[DatasetError]]:
    """Return the format of each annotation file among `texts`, and why others cannot be read."""
    formats: dict[Path, Format] = {}
    unreadable: list[DatasetError] = []
    for path in texts:
        try:
            if (found := format_of(path)) is not None:
                formats[path] = found
        except DatasetError as error:
            unreadable.append(error)
    return formats, unreadable


def read_annotated(found: Found, texts: list[Path], options: DatasetOptions) -> Dataset:
    """Return the table of the segments in all annotation files among `texts`.

    Raises:
        DatasetError: there are none; see also `read_segment_files`.
    """
    given = {path for path in options.annotation_paths() if path.is_file()}
    formats, unreadable = _recognised(texts)
    paths = sorted(formats.keys() | given)
    if not paths and unreadable:
        raise unreadable[0]
    if not paths:
        hint = "export from the annotation tool into --root, or give the files with --annotations"
        raise DatasetError("no annotation files with segments", where=found.root, hint=hint)
    dataset = read_segment_files(found, paths, options, name="segments")
    dataset.notes.extend(f"{error.where}: {error.what}: it is left out" for error in unreadable)
    return dataset


def detect_annotated(found: Found, texts: list[Path], options: DatasetOptions) -> str | None:
    """Detect exports of annotation tools of which a video is on disk; lists with times are read as `list`."""
    formats, _ = _recognised(texts)
    finder = _Finder(found, options)
    used = []
    for path in (path for path, known in formats.items() if known is not TABLE):
        try:
            if any(finder.find(video) for video in formats[path].read(path).videos):
                used.append(path)
        except DatasetError:
            used.append(path)  # reading reports the fault
    return f"{', '.join(path.name for path in used[:_SHOWN])}: segments of videos" if used else None


SEGMENTS = DatasetSpec(name="segments", title="Time-annotated videos", read=read_annotated, detect=detect_annotated)
