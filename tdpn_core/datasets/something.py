"""Something-Something V1, V2 and Jester: numbered clips, annotated by csv or JSON files in two naming schemes.

V1 and Jester come as picture folders (`%05d.jpg`, 12 frames per second) with `id;label` lines; V2 as videos with JSON
files. The class order is that of the labels file; for V1 and Jester this is not the sorted order, and published
checkpoints use either.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tdpn_core.datasets.annotation_io import fault, read_fields, read_json, read_lines
from tdpn_core.datasets.clip_table import HEAD, UNLABELLED, VIDEO, Dataset, Rows, Tally, make_dataset
from tdpn_core.datasets.media_index import Sources
from tdpn_core.datasets.options import DatasetOptions
from tdpn_core.datasets.remote import ByHand
from tdpn_core.datasets.scan import Found
from tdpn_core.datasets.spec import DatasetSpec
from tdpn_core.datasets.understanding import Reading
from tdpn_core.errors import DatasetError

_ROLES = {"labels": "labels", "train": "train", "validation": "val", "val": "val", "test": "test"}
_FILE = re.compile(r"(?:(.+)[-_])?(labels|train|validation|val|test|test-answers)\.(csv|json)", re.IGNORECASE)


@dataclass(frozen=True)
class _Kind:
    prefix: str
    """Prefix of the old file names; newer packages have none."""

    endings: tuple[str, ...]
    fps: float
    first_class: str
    """Identifies files without prefix: of the data sets with such suffixes, only this one has the class."""


_SETS = {
    "something-v1": _Kind("something-something-v1", ("csv",), 12.0, "Turning the camera left while filming something"),
    "something-v2": _Kind(
        "something-something-v2", ("json", "csv"), math.nan, "Approaching something with your camera"
    ),
    "jester": _Kind("jester-v1", ("csv",), 12.0, "Swiping Left"),
}


@dataclass(frozen=True)
class _Row:
    path: Path
    line: int
    clip: str
    label: str


def annotation_files(name: str, texts: list[Path]) -> dict[str, Path]:
    """Return the files of `name` by role: labels, train, val, test, answers. Files with the prefix are preferred.

    Something-Something V1 and V2 share most classes, so files without a prefix belong to V2 if they are JSON.
    """
    kind = _SETS[name]
    stated: dict[str, Path] = {}
    plain: dict[str, Path] = {}
    for path in texts:
        match = _FILE.fullmatch(path.name)
        if not match or match[3].lower() not in kind.endings:
            continue
        role = _ROLES.get(match[2].lower(), "answers")
        if match[3].lower() == "csv" and "json" in kind.endings and role != "answers":
            continue
        if match[1] is None:
            plain.setdefault(role, path)
        elif match[1].lower() in (kind.prefix, f"20bn-{kind.prefix}"):
            stated.setdefault(role, path)
    if stated:
        return stated | ({"answers": plain["answers"]} if "answers" in plain and "answers" not in stated else {})
    if "labels" in plain and kind.first_class in _labels(plain["labels"]):
        return plain
    return {}


def read_something(name: str, found: Found, texts: list[Path], options: DatasetOptions) -> Dataset:
    """Return the table of a copy of Something-Something or Jester.

    Raises:
        DatasetError: there is no labels file or no clips, or an annotation file has an error.
    """
    files = annotation_files(name, texts)
    kind = _SETS[name]
    if "labels" not in files or not files.keys() & {"train", "val", "test"}:
        ending = kind.endings[0]
        what = (
            f"no {kind.prefix}-labels.{ending} with -train, -validation or -test next to it, nor labels/labels.{ending}"
        )
        raise DatasetError(
            what, where=found.root, hint="if the annotation files are elsewhere, give their folder with --annotations"
        )
    names = _labels(files["labels"])
    label_of = {label: number for number, label in enumerate(names)}
    rows, tally, sources = Rows([HEAD]), Tally(), Sources(found, options.sources)
    answers = {row.clip: row for row in _rows(files["answers"])} if "answers" in files else {}
    for split in ("train", "val", "test"):
        for row in _rows(files[split]) if split in files else ():
            stated = answers.get(row.clip, row) if split == "test" else row
            if not stated.label and split != "test":
                raise fault(row.path, row.line, "clip has no label", row.clip)
            label = label_of.get(stated.label, UNLABELLED)
            if stated.label and label == UNLABELLED:
                raise fault(stated.path, stated.line, f"label is not in {files['labels'].name}", stated.label)
            if row.clip in rows:
                if rows.labels(row.clip) != (label,):
                    raise fault(row.path, row.line, "clip is listed twice with different labels", row.clip)
                tally.repeated(row.clip)
                continue
            source = sources.find(row.clip)
            if source is None:
                if rows.lack(row.clip, split):
                    tally.absent(split, "annotation file", row.clip)
                continue
            fps = math.nan if source.kind == VIDEO else kind.fps
            rows.add(row.clip, split, [label], source, fps=fps)
    notes = found.notes(list(files.values())) + tally.notes() + sources.notes()
    del sources  # as large as the table
    listed = files.keys() & {"train", "val", "test"}
    reading = Reading(f"{kind.prefix}: numbered clips with label files", tuple(files.values()))
    return make_dataset(
        name, found.root, rows, {HEAD: names}, reading=reading, label_order="file", notes=notes, listed=listed
    )


def _labels(path: Path) -> list[str]:
    """Return the classes of a labels file: lines, or numbers (as strings) by name."""
    if path.suffix.lower() == ".csv":
        names = [line.strip('"') for _, line in read_lines(path)]
    else:
        content = read_json(path)
        try:
            numbers = {int(number): name for name, number in content.items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise DatasetError(f"is not an object of numbers by class: {error}", where=path) from error
        if sorted(numbers) != list(range(len(content))):
            raise DatasetError(f"does not number its {len(content)} classes from 0", where=path)
        names = [numbers[number] for number in range(len(numbers))]
    if not names:
        raise DatasetError("is empty", where=path)
    if len(set(names)) < len(names):
        raise DatasetError("contains a class twice", where=path)
    return names


def _rows(path: Path) -> Iterator[_Row]:
    """Yield the rows of an annotation file; label "" if there is none. A JSON entry's line is its position, from 1."""
    if path.suffix.lower() == ".csv":
        for line, fields in read_fields(path, ";"):
            if len(fields) > 2 or not fields[0]:
                raise fault(path, line, "is not id;label", ";".join(fields))
            yield _Row(path, line, fields[0], _plain(fields[1]) if len(fields) > 1 else "")
        return
    content = read_json(path)
    if not isinstance(content, list):
        raise DatasetError("is not a list of clips", where=path)
    for place, entry in enumerate(content, 1):
        clip = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(clip, str | int) or clip == "":
            raise fault(path, place, "has no id", entry)
        yield _Row(path, place, str(clip), _plain(str(entry.get("template") or "")))


def _plain(template: str) -> str:
    return template.replace("[", "").replace("]", "").strip()


def detect_something(name: str, found: Found, texts: list[Path], options: DatasetOptions) -> str | None:
    """Detect the data set's label files."""
    files = annotation_files(name, texts)
    return f"{min(path.name for path in files.values())} is here" if files else None


_OWNER = "the owner, Qualcomm, requires an account and consent: www.qualcomm.com/developer/software, "

SOMETHING_V1 = DatasetSpec(
    name="something-v1",
    title="Something-Something V1",
    aliases=("somethingsomethingv1", "sthv1", "ssv1"),
    read=partial(read_something, "something-v1"),
    detect=partial(detect_something, "something-v1"),
    recipe="something-v1",
    num_classes={HEAD: 174},
    download=ByHand(
        _OWNER + "Something-Something v1",
        "20bn-something-something-v1/<id>/*.jpg and something-something-v1-{labels,train,validation}.csv",
    ),
)
SOMETHING_V2 = DatasetSpec(
    name="something-v2",
    title="Something-Something V2",
    aliases=("somethingsomethingv2", "sthv2", "ssv2"),
    read=partial(read_something, "something-v2"),
    detect=partial(detect_something, "something-v2"),
    recipe="something-v2",
    num_classes={HEAD: 174},
    foreign_order="file",
    download=ByHand(
        _OWNER + "Something-Something v2",
        "20bn-something-something-v2/*.webm and labels/{labels,train,validation,test}.json",
    ),
)
JESTER = DatasetSpec(
    name="jester",
    title="Jester",
    read=partial(read_something, "jester"),
    detect=partial(detect_something, "jester"),
    num_classes={HEAD: 27},
    download=ByHand(_OWNER + "Jester", "20bn-jester-v1/<id>/*.jpg and labels/{labels,train,validation}.csv"),
)
