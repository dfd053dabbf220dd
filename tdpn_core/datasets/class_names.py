"""Class names: spelling variants, files that list them, and class orders."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from tdpn_core.datasets.annotation_io import fault, read_fields, read_json, read_lines, shorten
from tdpn_core.datasets.clip_table import Dataset
from tdpn_core.datasets.options import DatasetOptions
from tdpn_core.errors import DatasetError, UsageError

CLASS_FILE = re.compile(
    r"(?:.*[_-])?(?:classes|class[_-]?list|class[_-]?names|classind|category|categories|categroies|labels?|label[_-]?list|"
    r"label[_-]?map(?:[_-]\w+)?|labels[_-]to[_-]id)\.(?:txt|csv|json|list)", re.IGNORECASE,
)  # fmt: skip
"""Name of a file that may list class names."""

_NUMBER_FIRST = re.compile(r"(\d+)\s*[:,;\t ]\s*(\S.*)")
_NUMBER_LAST = re.compile(r"(.*\S)\s*[:,;\t ]\s*(\d+)")


def normal(label: str) -> str:
    """Return the form in which class names are compared; copies of Kinetics spell them in three ways."""
    return re.sub(r"[\"'()\[\]]", "", label.replace("_", " ")).strip().lower()


def cleaned(label: str) -> str:
    """Return the folder name that torchvision derives from a class name (`torchvision.datasets.Kinetics`)."""
    return re.sub(r"[()']", "", label.replace(" ", "_"))


def read_class_list(path: Path) -> list[str]:
    """Read the class names of a file, in label order.

    One name per line, optionally with its number before or after it; a csv file with columns id and name; or a JSON
    list, or object of numbers by name. Numbers may start at 0 or 1.

    Raises:
        DatasetError: the file is empty, or a number is missing, or a number or name is repeated.
    """
    if path.suffix.lower() == ".json":
        names = _from_json(path)
    else:
        lines = list(read_lines(path))
        header = [field.strip().lower() for field in lines[0][1].split(",")] if lines else []
        if "name" in header and len(header) > 1 and header[0] in ("id", "index", "label"):
            rows = list(read_fields(path, ","))[1:]
            place = header.index("name")
            names = _in_order(path, [(line, fields[0], fields[place]) for line, fields in rows if len(fields) > place])
        else:
            names = _from_lines(path, lines)
    if not names:
        raise DatasetError("names no classes", where=path)
    repeated = next((name for row, name in enumerate(names) if name in names[:row]), None)
    if repeated is not None:
        raise DatasetError(f"contains a class twice: {shorten(repeated)}", where=path)
    return names


def find_class_list(texts: Iterable[Path], most: int) -> tuple[Path | None, list[str], list[str]]:
    """Return the class file among `texts`, its names, and notes on files that are not used.

    Args:
        texts: files; those that do not have the name of a class file are ignored.
        most: largest class number; of several files, those with fewer classes are ignored.
    """
    files = {path.resolve(): path for path in texts if CLASS_FILE.fullmatch(path.name)}
    read, notes = {}, []
    for path in files.values():
        try:
            read[path] = read_class_list(path)
        except DatasetError as error:
            notes.append(f"{path.name} is not used for class names: {error.what}")
    if len(read) > 1:  # files of other data sets may be present
        read = {path: names for path, names in read.items() if len(names) > most}
    if len({tuple(names) for names in read.values()}) > 1:
        files_named = ", ".join(path.name for path in read)
        return None, [], [*notes, f"{files_named} contain different class names: give one with --class-list"]
    return (*next(iter(read.items()), (None, [])), notes)


def reorder(dataset: Dataset, options: DatasetOptions) -> Dataset:
    """Return `dataset` with its classes in the order that `options` requests.

    Raises:
        UsageError: this data set does not support that order.
        DatasetError: the class list has other classes.
    """
    if options.class_list is None and options.label_order in ("official", dataset.label_order):
        return dataset
    if options.class_list is not None and dataset.label_order == _stated(options.class_list):  # it named them
        return dataset
    if len(dataset.classes) > 1:
        what = f"{dataset.name} has one order of classes, that of its class files"
        raise UsageError(what, hint="omit --label-order")
    (head, names), *_ = dataset.classes.items()
    if options.class_list is not None:
        order, stated = _given_order(names, options.class_list), _stated(options.class_list)
    elif options.label_order == "file":
        what = f"{dataset.name} has no class file here: its order is {dataset.label_order!r}"
        raise UsageError(what, hint="give a class list")
    elif dataset.label_order == "numbers":
        raise UsageError("the classes of the list have no names to sort", hint="give a class list")
    else:
        by = cleaned if options.label_order == "cleaned" else str
        order, stated = sorted(range(len(names)), key=lambda label: by(names[label])), options.label_order
    position = np.full(len(names) + 1, -1)  # the last entry is for -1, unlabelled
    position[order] = np.arange(len(order))
    column = dataset.clips[f"label_{head}"]
    if dataset.multilabel:
        labels = pd.Series([tuple(sorted(position[list(own)].tolist())) for own in column], dtype=object)
    else:
        labels = pd.Series(position[column.to_numpy()])
    clips = dataset.clips.assign(**{f"label_{head}": labels})
    ordered = [names[label] for label in order]
    return dataclasses.replace(dataset, clips=clips, classes={head: ordered}, label_order=stated)


def _stated(path: Path) -> str:
    return f"list {path.name}"


def _given_order(names: list[str], path: Path) -> list[int]:
    """Return the data set's labels in the order of the list."""
    known = {normal(name): label for label, name in enumerate(names)}
    wanted = read_class_list(path)
    unknown = [name for name in wanted if normal(name) not in known]
    lacking = set(known) - {normal(name) for name in wanted}
    if unknown or lacking:
        some = f"{unknown[0]!r} is not a class of the data set" if unknown else f"{min(lacking)!r} is missing"
        raise DatasetError(f"lists {len(wanted)} classes, the data set has {len(names)}: {some}", where=path)
    return [known[normal(name)] for name in wanted]


def _from_json(path: Path) -> list[str]:
    content = read_json(path)
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        return list(content)
    if isinstance(content, list) and all(isinstance(parts, list) for parts in content):  # Diving48_vocab.json
        return ["+".join(map(str, parts)) for parts in content]
    if isinstance(content, dict):
        return _in_order(path, [(row, str(number), str(name)) for row, (name, number) in enumerate(content.items(), 1)])
    raise DatasetError("is not a list of class names", where=path)


def _from_lines(path: Path, lines: list[tuple[int, str]]) -> list[str]:
    for pattern, number, name in ((_NUMBER_FIRST, 1, 2), (_NUMBER_LAST, 2, 1)):
        matches = [(line, pattern.fullmatch(text)) for line, text in lines]
        if len(matches) > 1 and all(match for _, match in matches):
            return _in_order(path, [(line, match[number], match[name]) for line, match in matches if match])
    return [text for _, text in lines]


def _in_order(path: Path, numbered: list[tuple[int, str, str]]) -> list[str]:
    """Return the names of (line, number, name) in order."""
    by_number: dict[int, str] = {}
    for line, number, name in numbered:
        if not number.isdecimal():
            raise fault(path, line, "is not a class number", number)
        if int(number) in by_number:
            raise fault(path, line, "class number is repeated", number)
        by_number[int(number)] = name
    base = min(by_number, default=0)
    if base > 1 or sorted(by_number) != list(range(base, base + len(by_number))):
        raise DatasetError(f"the numbers of its {len(by_number)} classes have gaps", where=path)
    return [by_number[number] for number in sorted(by_number)]
