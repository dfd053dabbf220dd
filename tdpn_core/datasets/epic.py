"""EPIC-KITCHENS-100 and -55: segments of long videos with a verb and a noun.

A segment of a video is cut at its timestamps. Its frame numbers are those of the released frames, extracted at 60
frames per second (videos of EPIC-55, `PXX_YY`) or 50 (the extension, `PXX_1YY`) whatever the video's rate, and are
used only for these frames. The data sets have different class ids, so their files are never mixed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tdpn_core.datasets.annotation_io import fault, read_columns
from tdpn_core.datasets.clip_table import UNLABELLED, VIDEO, Dataset, Rows, Source, Tally, make_dataset
from tdpn_core.datasets.media_index import Sources
from tdpn_core.datasets.options import DatasetOptions
from tdpn_core.datasets.remote import ByHand
from tdpn_core.datasets.scan import Found, scan
from tdpn_core.datasets.spec import DatasetSpec
from tdpn_core.datasets.understanding import Reading
from tdpn_core.errors import DatasetError
from tdpn_core.wording import agree, counted

HEADS = ("verb", "noun")
VAL_PARTICIPANTS_55 = frozenset(f"P{number}" for number in range(25, 32))
"""EPIC-55 has no validation split; this is the common one of Baradel et al. ("Object Level Visual Reasoning in
Videos", ECCV 2018): P01 to P24 for training, P25 to P31 for validation."""

_TIME = re.compile(r"(\d+):([0-5]\d):([0-5]\d(?:\.\d+)?)")
_VIDEO = re.compile(r"P\d{2}_\d{2,3}")
_EXTENSION = re.compile(r"P\d{2}_\d{3}")
_RATE, _EXTENSION_RATE = 60.0, 50.0

_OUTSIDE = (
    "segment is empty or begins after its video's end and is left out",
    "segments are empty or begin after their video's end and are left out",
)
_SHORTENED = (
    "segment extends beyond its video's end and is shortened",
    "segments extend beyond their video's end and are shortened",
)


@dataclass(frozen=True)
class _Files:
    """File and column names of a data set; `{head}` is verb or noun."""

    train: str
    val: str | None
    tests: tuple[str, ...]
    classes: str
    clip: str
    """Column of a segment's id."""

    class_columns: tuple[str, str]
    """Columns of a class's id and name."""

    videos: str
    video: str
    """Column of a video in the file `videos`, which contains durations."""


_SETS = {
    "epic100": _Files(
        train="EPIC_100_train.csv",
        val="EPIC_100_validation.csv",
        tests=("EPIC_100_test_timestamps.csv",),
        classes="EPIC_100_{head}_classes.csv",
        clip="narration_id",
        class_columns=("id", "key"),
        videos="EPIC_100_video_info.csv",
        video="video_id",
    ),
    "epic55": _Files(
        train="EPIC_train_action_labels.csv",
        val=None,
        tests=("EPIC_test_s1_timestamps.csv", "EPIC_test_s2_timestamps.csv"),
        classes="EPIC_{head}_classes.csv",
        clip="uid",
        class_columns=("{head}_id", "class_key"),
        videos="EPIC_video_info.csv",
        video="video",
    ),
}
_INVALID_55 = "EPIC_train_invalid_labels.csv"
_UNSEEN_TEST_55 = "EPIC_test_s2_timestamps.csv"  # participants in no other file


@dataclass(frozen=True)
class _Row:
    line: int
    clip: str
    participant: str
    video: str
    start: float
    stop: float
    first: int
    last: int
    classes: tuple[str, ...]
    """Numbers of verb and noun as text; "" in test files."""


def segment_files(name: str, texts: list[Path]) -> list[str]:
    """Return the sorted names of the data set's segment files among `texts`."""
    files = _SETS[name]
    return sorted({path.name for path in texts} & {files.train, files.val, *files.tests})


def read_epic(name: str, found: Found, texts: list[Path], options: DatasetOptions) -> Dataset:
    """Return the table of a copy of EPIC-KITCHENS.

    Raises:
        DatasetError: there are no annotation files of this data set or no clips, or an annotation file has an error.
    """
    files = _SETS[name]
    known: dict[str, Path] = {}
    for path in texts:
        known.setdefault(path.name, path)
    if not segment_files(name, texts):
        present = [other for other in _SETS if segment_files(other, texts)]
        other = f"; the files here belong to {present[0]}, which numbers classes differently" if present else ""
        raise DatasetError(f"none of {files.train}, {files.val or files.tests[0]}, … here{other}", where=found.root)
    classes = {head: _class_names(known, files, head, found.root) for head in HEADS}
    rows, tally = Rows(HEADS), Tally()
    sources = Sources(found, options.sources, key=_video_of, whole_tars=False)
    durations = _durations(known, files)
    participants: dict[str, dict[str, list[str]]] = {"val": {}, "test": {}}
    used = [path for path in known.values() if path.name.startswith("EPIC_")]
    missing: set[str] = set()
    listed: set[str] = set()
    for file in (files.train, files.val, *files.tests):
        if file not in known:
            continue
        for row in _segments(known[file], files, labelled=file not in files.tests):
            split = _split(name, files, file, row.participant)
            listed.add(split)
            labels = _labels(row, classes, known[file])
            if row.clip in rows:
                if rows.labels(row.clip) != labels or rows.split(row.clip) != split:
                    raise fault(
                        known[file], row.line, "segment is listed twice with different labels or splits", row.clip
                    )
                tally.repeated(row.clip, what="segment")
            elif row.stop <= row.start or row.start >= durations.get(row.video, row.stop):
                if rows.lack(row.clip, split):
                    tally.add(*_OUTSIDE, row.clip)
            elif (source := sources.find(row.video)) is None:
                if rows.lack(row.clip, split):
                    tally.without_video(split, row.video)
                missing.add(row.video)
            else:
                _add(row, split, labels, source, rows)
                if row.stop > durations.get(row.video, row.stop):
                    tally.add(*_SHORTENED, row.clip)
                apart = "unseen" if file == _UNSEEN_TEST_55 else row.participant
                participants.setdefault(split, {}).setdefault(apart, []).append(row.clip)
    notes = found.notes(used) + tally.notes() + sources.notes()
    if missing:
        absent = f"{counted(len(missing), 'annotated video')} {agree(len(missing), 'is', 'are')}"
        notes.append(f"{absent} not on disk: {', '.join(sorted(missing)[:10])}")
    if name == "epic55":
        notes.append("no official validation split: participants P25 to P31 are held out, after Baradel et al. (2018)")
        if _INVALID_55 in known:
            count = sum(1 for _ in read_columns(known[_INVALID_55], ["uid"]))
            out = f"{counted(count, 'segment')} of {_INVALID_55} {agree(count, 'is', 'are')}"
            notes.append(f"{out} left out for lack of a class")
    subsets = _subsets(name, known, participants, classes)
    return make_dataset(
        name,
        found.root,
        rows,
        classes,
        reading=Reading("EPIC-KITCHENS: segments of videos by their time stamps", tuple(used)),
        label_order="file",
        notes=notes,
        subsets=subsets,
        listed=listed,
    )


def _video_of(path: str, name: str) -> str | None:
    """Return the video that a file, folder or tar belongs to; None for optical flow and other files."""
    folders = path.lower().split("/")[:-1]
    if not _VIDEO.fullmatch(name) or any(folder.startswith(("flow", "frames_flow")) for folder in folders):
        return None
    return name


def _split(name: str, files: _Files, file: str, participant: str) -> str:
    if file in files.tests:
        return "test"
    if file == files.val or (name == "epic55" and participant in VAL_PARTICIPANTS_55):
        return "val"
    return "train"


def _segments(path: Path, files: _Files, *, labelled: bool) -> Iterator[_Row]:
    """Yield the rows of a file of segments."""
    names = [files.clip, "participant_id", "video_id", "start_timestamp", "stop_timestamp", "start_frame", "stop_frame"]
    for line, values in read_columns(path, names + ([f"{head}_class" for head in HEADS] if labelled else [])):
        clip, participant, video, start, stop, first, last, *classes = values
        if not clip or not _VIDEO.fullmatch(video):
            raise fault(path, line, f"{files.clip} or video_id is invalid", f"{clip},{video}")
        for number in (first, last):
            if not number.isdecimal():
                raise fault(path, line, "is not a frame number", number)
        begin, end = _seconds(path, line, start), _seconds(path, line, stop)
        yield _Row(line, clip, participant, video, begin, end, int(first), int(last), tuple(classes))


def _seconds(path: Path, line: int, text: str) -> float:
    match = _TIME.fullmatch(text)
    if not match:
        raise fault(path, line, "is not a timestamp (HH:MM:SS.ss)", text)
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])


def _labels(row: _Row, classes: dict[str, list[str]], path: Path) -> tuple[int, ...]:
    if not row.classes:
        return (UNLABELLED,) * len(HEADS)
    for (head, names), text in zip(classes.items(), row.classes, strict=True):
        if not text.isdecimal() or int(text) >= len(names):
            raise fault(path, row.line, f"{head}_class of {row.clip} is not one of {len(names)}", text)
    return tuple(int(text) for text in row.classes)


def _add(row: _Row, split: str, labels: tuple[int, ...], source: Source, rows: Rows) -> None:
    if source.kind == VIDEO:
        rows.add(row.clip, split, labels, source, start=row.start, stop=row.stop)
    else:
        fps = _EXTENSION_RATE if _EXTENSION.fullmatch(row.video) else _RATE
        rows.add(row.clip, split, labels, source, first=row.first, last=row.last, fps=fps)


def _class_names(known: dict[str, Path], files: _Files, head: str, root: Path) -> list[str]:
    """Return the class names of a head in the order of their ids."""
    file = files.classes.format(head=head)
    if file not in known:
        raise DatasetError(f"no {file}, which names the {head}s", where=root)
    names: dict[int, str] = {}
    for line, (number, name) in read_columns(known[file], [column.format(head=head) for column in files.class_columns]):
        if not number.isdecimal() or int(number) in names:
            raise fault(known[file], line, "is not a new class id", number)
        names[int(number)] = name
    if not names or sorted(names) != list(range(len(names))):
        raise DatasetError(f"does not number its {len(names)} classes from 0", where=known[file])
    return [names[number] for number in range(len(names))]


def _durations(known: dict[str, Path], files: _Files) -> dict[str, float]:
    """Return the seconds of each video, if the file with durations exists."""
    durations = {}
    for line, (video, text) in (
        read_columns(known[files.videos], [files.video, "duration"]) if files.videos in known else ()
    ):
        try:
            durations[video] = float(text)
        except ValueError:
            raise fault(known[files.videos], line, "is not a duration", text) from None
    return durations


def _subsets(
    name: str, known: dict[str, Path], participants: dict[str, dict[str, list[str]]], classes: dict[str, list[str]]
) -> Subsets:
    """Return the subsets that the official metric evaluates separately (`Dataset.subsets`)."""
    if name == "epic55":
        return {"unseen": {"test": sorted(participants["test"].get("unseen", []))}}
    unseen, tail = read_unseen(known, participants), read_tail(known, classes)
    return ({"unseen": unseen} if unseen else {}) | ({"tail": tail} if tail else {})


Subsets = dict[str, dict[str, list[str]] | dict[str, list[int]]]
"""See `Dataset.subsets`."""

_TAIL = "EPIC_100_tail_{head}s.csv"
_UNSEEN = {
    "val": "EPIC_100_unseen_participant_ids_validation.csv",
    "test": "EPIC_100_unseen_participant_ids_test.csv",
}


def find_lists(folder: Path) -> dict[str, Path]:
    """Return the annotation files below a folder, by name.

    Raises:
        DatasetError: there is no such folder, or it contains none of the lists.
    """
    if not folder.is_dir():
        raise DatasetError("no such folder of annotations", where=folder)
    known = {Path(text).name: folder / text for text in scan(folder).texts}
    wanted = [*(_TAIL.format(head=head) for head in ("verb", "noun")), *_UNSEEN.values()]
    if not known.keys() & set(wanted):
        raise DatasetError(f"contains none of {', '.join(wanted)}", where=folder, hint=_hint())
    return known


def read_subsets(
    known: Mapping[str, Path], split: str, clips: Sequence[str], classes: Mapping[str, Sequence[str]], *, where: Path
) -> Subsets:
    """Return the subsets of the `clips` of a split to evaluate separately; clip names contain the participants.

    Raises:
        DatasetError: a required list is not among the `known` files of the folder `where`, or has an error.
    """
    needed = [_TAIL.format(head=head) for head in classes] + ([_UNSEEN[split]] if split in _UNSEEN else [])
    lacking = [name for name in needed if name not in known]
    if lacking:
        raise DatasetError(f"lacks {' and '.join(lacking)}", where=where, hint=_hint())
    of_participant: dict[str, list[str]] = {}
    for clip in clips:
        of_participant.setdefault(clip.partition("_")[0], []).append(clip)
    unseen, tail = read_unseen(known, {split: of_participant}), read_tail(known, classes)
    return {"unseen": unseen, "tail": tail} if unseen else {"tail": tail}


def read_unseen(
    known: Mapping[str, Path], participants: Mapping[str, Mapping[str, Sequence[str]]]
) -> dict[str, list[str]]:
    """Return ids of clips of unseen participants by split; `participants` has the clips of each, by split."""
    unseen = {}
    for split, file in _UNSEEN.items():
        if file in known and split in participants:
            apart = [participant for _, (participant,) in read_columns(known[file], ["participant_id"])]
            unseen[split] = sorted(clip for one in apart for clip in participants[split].get(one, ()))
    return unseen


def read_tail(known: Mapping[str, Path], classes: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """Return the rare classes by head.

    Raises:
        DatasetError: a list contains an unknown class.
    """
    tail: dict[str, list[int]] = {}
    for head, names in classes.items():
        file = known.get(_TAIL.format(head=head))
        if file is None:
            continue
        tail[head] = []
        for line, (number,) in read_columns(file, [head]):
            if not number.isdecimal() or int(number) >= len(names):
                raise fault(file, line, f"is not one of {len(names)} {head}s", number)
            tail[head].append(int(number))
    return tail


def _hint() -> str:
    return "they come with the annotations of EPIC-KITCHENS-100; give the folder that contains them"


def detect_epic(name: str, found: Found, texts: list[Path], options: DatasetOptions) -> str | None:
    """Detect the data set's segment files."""
    files = segment_files(name, texts)
    return f"{files[0]} is here" if files else None


_OWNER = "the owner's own downloader: github.com/epic-kitchens/epic-kitchens-download-scripts"
_LAYOUT = "EPIC-KITCHENS/P01/videos/P01_01.MP4 ... and the {} of epic-kitchens-{}-annotations"

EPIC100 = DatasetSpec(
    name="epic100",
    title="EPIC-KITCHENS-100",
    aliases=("epickitchens100",),
    read=partial(read_epic, "epic100"),
    detect=partial(detect_epic, "epic100"),
    recipe="epic100",
    num_classes={"verb": 97, "noun": 300},
    has_subset_lists=True,
    download=ByHand(_OWNER, _LAYOUT.format("EPIC_100_*.csv", "100")),
    conflicts=("epic55",),
)
EPIC55 = DatasetSpec(
    name="epic55",
    title="EPIC-KITCHENS-55",
    aliases=("epickitchens55",),
    read=partial(read_epic, "epic55"),
    detect=partial(detect_epic, "epic55"),
    recipe="epic55",
    num_classes={"verb": 125, "noun": 352},
    published_as="EPIC-KITCHENS",
    download=ByHand(_OWNER, _LAYOUT.format("EPIC_*.csv", "55")),
    conflicts=("epic100",),
)
