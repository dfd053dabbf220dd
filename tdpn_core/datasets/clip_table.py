"""The common table of clips that every data set is read to."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tdpn_core.datasets.understanding import Reading, Understanding
from tdpn_core.errors import DatasetError
from tdpn_core.labels import UNLABELLED as UNLABELLED
from tdpn_core.labels import Labels, clips_per_class, known, to_rows
from tdpn_core.wording import counted

if TYPE_CHECKING:
    import pandas as pd

HEAD = "action"  # the head of data sets with one label per clip
SPLITS = ("train", "val", "test")
VIDEO, FRAMES, TAR = KINDS = ("video", "frames", "tar")


@dataclass(frozen=True)
class Dataset:
    """A data set as found on disk.

    `clips` has one row per clip, sorted by split (train, val, test) and id, with the columns

    - `id`: unique, and independent of the root's path;
    - `source`: path of the video file, frame folder or tar file, relative to the root with `/` between folders, as
      `os.fsdecode` gives it; absolute if outside the root;
    - `kind`: `video`, `frames` (a folder of pictures) or `tar` (a file of pictures);
    - `pattern`: printf-style name of the pictures within the folder or tar, `%05d.jpg`, without the folders that a tar
      may put before it; "" for a video;
    - `first`, `last`: numbers of the first and last picture as in their names, inclusive; `last` is -1 where all from
      `first` on belong to the clip. 0 and -1 for a video, unless its part is given in frames (from 0), which `prep`
      converts to seconds;
    - `fps`: frames per second of a folder or tar if known, else NaN; NaN for a video;
    - `start`, `stop`: the part of a video in seconds; NaN for an entire video;
    - `split`: train, val or test;
    - `label_<head>`: label for each head; -1 if unlabelled. In multi-label data a tuple of labels, (-1,) if
      unlabelled.
    """

    name: str
    root: Path
    clips: pd.DataFrame
    classes: dict[str, list[str]]
    """Class names by head, in label order."""

    reading: Reading
    """How its files were read."""

    label_order: str
    """Origin of the class order: `file` (the data set's own class file), `sorted` or `cleaned` (see
    `DatasetOptions.label_order`), `numbers` (bare numbers in a list), or `list <name>` (a given class list)."""

    notes: list[str] = field(default_factory=list)
    """Notes on unused and unexpected findings."""

    subsets: dict[str, dict[str, list[str]] | dict[str, list[int]]] = field(default_factory=dict)
    """Subsets that the official protocol evaluates separately, as plain lists: `unseen`, ids of clips of unseen
    participants by split; `tail`, rare classes by head."""

    absent: dict[str, list[str]] = field(default_factory=dict)
    """For each split that the data set's annotations list: ids of listed clips that are not on disk."""

    groups: dict[str, str] = field(default_factory=dict)
    """Source group by clip id, if we drew the split between training and validation; empty if it was given."""

    seed: int = 0
    """Seed of that draw."""

    multilabel: bool = False
    """Whether a clip may belong to several classes, or to none."""

    unfitted: dict[str, str] = field(default_factory=dict)
    """Segments that are not compared with their videos yet (`prep` does), by clip id: where the annotation files name
    them, `labels.csv line 3`."""

    annotated: dict[str, list[tuple[float, float, bool]]] = field(default_factory=dict)
    """With background clips requested: all annotated parts (start, end, whether these are frames) of each source whose
    annotation is complete."""

    def labels(self, head: str) -> Labels:
        """Return the labels of a head: (N,), or (N, classes) in multi-label data."""
        column = self.clips[_column(head)]
        if self.multilabel:
            return to_rows(column, len(self.classes[head])).astype(np.int64)
        return column.to_numpy()

    def class_names(self, head: str) -> list[list[str]]:
        """Return the names of each clip's classes; none for an unlabelled clip."""
        names = self.classes[head]
        column = self.clips[_column(head)].tolist()
        rows = column if self.multilabel else [(label,) for label in column]
        return [[names[label] for label in row if label != UNLABELLED] for row in rows]

    @property
    def understanding(self) -> Understanding:
        """How the files were read: classes, splits, columns, counts and warnings."""
        reading = {one.name: getattr(self.reading, one.name) for one in fields(Reading)}
        counts = self.clips["split"].value_counts().to_dict()
        found = {split: int(counts[split]) for split in SPLITS if split in counts}
        missing = {split: len(clips) for split, clips in self.absent.items()}
        listed = {split: found.get(split, 0) + missing.get(split, 0) for split in SPLITS if split in found | missing}
        classes = {}
        for head, names in self.classes.items():
            by_label = clips_per_class(self.labels(head), len(names)).tolist()
            classes[head] = dict(zip(names, by_label, strict=True))
        first = known(self.labels(next(iter(self.classes))))
        return Understanding(
            **reading,
            classes=classes,
            unlabelled=int((~first).sum()),
            listed=listed,
            found=found,
            missing=missing,
            notes=tuple(self.notes),
        )


@dataclass(frozen=True)
class Source:
    """Location of a clip's pictures, as in the table's columns."""

    source: str
    kind: str
    pattern: str = ""
    first: int = 0


class Rows:
    """Builder of the table: one list per column, since a data set may have a million clips."""

    def __init__(self, heads: Sequence[str], *, multilabel: bool = False) -> None:
        self.heads = tuple(heads)
        self.multilabel = multilabel
        self._others: dict[int, set[int]] = {}  # by row: labels besides the first, in multi-label data
        self._row: dict[str, int] = {}  # by id; its keys are the column of ids
        self._text: dict[str, list[str]] = {name: [] for name in ("source", "kind", "pattern", "split")}
        self._numbers: dict[str, array[int]] = {name: array("q") for name in ("first", "last", *map(_column, heads))}
        self._floats: dict[str, array[float]] = {name: array("d") for name in ("fps", "start", "stop")}
        self._lacking: dict[str, str] = {}  # split by id

    def __len__(self) -> int:
        return len(self._row)

    def __contains__(self, clip: str) -> bool:
        return clip in self._row

    def labels(self, clip: str) -> tuple[int, ...]:
        """Return the labels of an existing clip."""
        return tuple(self._numbers[_column(head)][self._row[clip]] for head in self.heads)

    def split(self, clip: str) -> str:
        """Return the split of an existing clip."""
        return self._text["split"][self._row[clip]]

    @property
    def ids(self) -> Iterable[str]:
        """The column of ids."""
        return self._row

    @property
    def splits(self) -> list[str]:
        """The column itself; assigning to its items changes the clips' splits."""
        return self._text["split"]

    @property
    def sources(self) -> Sequence[str]:
        """The column of sources."""
        return self._text["source"]

    @property
    def first_labels(self) -> Sequence[int]:
        """The labels of the first head; in multi-label data one of each clip."""
        return self._numbers[_column(self.heads[0])]

    def all_labels(self, row: int) -> list[int]:
        """Return the labels of a row in the first head, in ascending order; none for an unlabelled clip."""
        return sorted(({self.first_labels[row]} | self._others.get(row, set())) - {UNLABELLED})

    def add_label(self, clip: str, label: int) -> None:
        """Add a label to an existing clip of multi-label data."""
        row = self._row[clip]
        if label != self.first_labels[row]:
            self._others.setdefault(row, set()).add(label)

    def add(
        self,
        clip: str,
        split: str,
        labels: Sequence[int],
        source: Source,
        *,
        first: int | None = None,
        last: int = -1,
        fps: float = math.nan,
        start: float = math.nan,
        stop: float = math.nan,
    ) -> None:
        """Append a clip; its id must be new."""
        self._row[clip] = len(self._row)
        for name in ("source", "kind", "pattern"):
            self._text[name].append(getattr(source, name))
        self._text["split"].append(split)
        self._numbers["first"].append(source.first if first is None else first)
        self._numbers["last"].append(last)
        for head, label in zip(self.heads, labels, strict=True):
            self._numbers[_column(head)].append(label)
        for name, value in (("fps", fps), ("start", start), ("stop", stop)):
            self._floats[name].append(value)

    def _label_sets(self, order: Sequence[int]) -> list[tuple[int, ...]]:
        """Return the labels of rows of multi-label data. In a split without any label all clips are unlabelled."""
        sets = [tuple(self.all_labels(row)) for row in order]
        splits = [self._text["split"][row] for row in order]
        labelled = {split for split, own in zip(splits, sets, strict=True) if own}
        return [own if split in labelled else (UNLABELLED,) for split, own in zip(splits, sets, strict=True)]

    def lack(self, clip: str, split: str) -> bool:
        """Record a listed clip that is not on disk; False if it was recorded before."""
        new = clip not in self._lacking
        self._lacking.setdefault(clip, split)
        return new

    def absent(self, listed: Iterable[str]) -> dict[str, list[str]]:
        """Return, for each of the `listed` splits, the recorded clips that were never found."""
        absent: dict[str, list[str]] = {split: [] for split in SPLITS if split in set(listed)}
        for clip, split in self._lacking.items():
            if clip not in self._row:
                absent[split].append(clip)
        return absent

    def frame(self) -> pd.DataFrame:
        """Return the rows as a DataFrame."""
        import pandas as pd  # slow import, not needed to list data sets

        ids = list(self._row)
        self._row.clear()
        order = np.array(
            [
                row
                for wanted in SPLITS
                for row in sorted(
                    (row for row, split in enumerate(self._text["split"]) if split == wanted), key=ids.__getitem__
                )
            ],
            dtype=np.intp,
        )
        columns: dict[str, pd.Series] = {"id": _strings(ids, order)}
        for name in ("source", "kind", "pattern"):
            columns[name] = _strings(self._text[name], order)
        columns |= {name: pd.Series(np.array(self._numbers[name], np.int64)[order]) for name in ("first", "last")}
        columns |= {name: pd.Series(np.array(column)[order]) for name, column in self._floats.items()}
        columns["split"] = _strings(self._text["split"], order)
        for head in self.heads:
            columns[_column(head)] = pd.Series(np.array(self._numbers[_column(head)], np.int64)[order])
        if self.multilabel:
            columns[_column(self.heads[0])] = pd.Series(self._label_sets(order.tolist()), dtype=object)
        return pd.DataFrame(columns)


class Tally:
    """Counts skipped items by kind, with an example each, so that nothing is skipped silently."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._examples: dict[tuple[str, str], str] = {}

    def add(self, one: str, more: str, example: str) -> None:
        """Count one more: `one` is the words for a single item (`clip is not on disk`), `more` those for several."""
        kind = (one, more)
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if example:
            self._examples.setdefault(kind, example)

    def absent(self, split: str, where: str, example: str = "") -> None:
        """Count a clip of `split` that the annotations (`where`) name and the disk lacks."""
        one, more = f"clip of the {where} is not on disk", f"clips of the {where} are not on disk"
        self.add(f"{split} {one}", f"{split} {more}", example)

    def without_video(self, split: str, video: str) -> None:
        """Count a segment of `split` whose video the disk lacks."""
        one, more = "belongs to a video that is not on disk", "belong to videos that are not on disk"
        self.add(f"{split} segment {one}", f"{split} segments {more}", video)

    def repeated(self, example: str, *, same_split: bool = True, what: str = "clip") -> None:
        """Count a clip that is listed again, in the same split or in another."""
        once = "listed more than once and used once" if same_split else "in two splits and used in the first"
        self.add(f"{what} is {once}", f"{what}s are {once}", example)

    def notes(self) -> list[str]:
        """Return a sentence per kind."""
        return [
            counted(count, *kind) + (f" (for example {self._examples[kind]!r})" if kind in self._examples else "")
            for kind, count in self._counts.items()
        ]


def make_dataset(
    name: str,
    root: Path,
    rows: Rows,
    classes: dict[str, list[str]],
    *,
    reading: Reading,
    label_order: str,
    notes: list[str],
    subsets: dict[str, dict[str, list[str]] | dict[str, list[int]]] | None = None,
    listed: Iterable[str] = (),
    groups: dict[str, str] | None = None,
    seed: int = 0,
) -> Dataset:
    """Sort the clips and build the data set; `listed` are the splits that annotations list.

    Raises:
        DatasetError: there are no clips.
    """
    if not len(rows):
        raise DatasetError("no clips found", where=root, hint="; ".join(notes) or None)
    absent = rows.absent(listed)
    return Dataset(
        name,
        root,
        rows.frame(),
        classes,
        reading,
        label_order,
        notes,
        subsets or {},
        absent,
        groups or {},
        seed,
        rows.multilabel,
    )


def _column(head: str) -> str:
    return f"label_{head}"


def _strings(values: list[str], order: np.ndarray) -> pd.Series:
    """Return a column of exact strings: pandas' string types may refuse names of undecodable bytes."""
    import pandas as pd

    array_of = np.empty(len(values), dtype=object)
    array_of[:] = values
    return pd.Series(array_of[order], dtype=object)
