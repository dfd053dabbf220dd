"""UCF101 and HMDB51: class folders with three official splits, whose test lists are used for validation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tdpn_core.datasets.annotation_io import fault, read_lines
from tdpn_core.datasets.class_names import read_class_list
from tdpn_core.datasets.clip_table import HEAD, Dataset, Rows, Tally, make_dataset
from tdpn_core.datasets.media_index import Sources
from tdpn_core.datasets.options import DatasetOptions
from tdpn_core.datasets.remote import Download, RemoteFile
from tdpn_core.datasets.scan import Found, stem
from tdpn_core.datasets.spec import DatasetSpec
from tdpn_core.datasets.understanding import Reading
from tdpn_core.errors import DatasetError
from tdpn_core.wording import counted

HMDB_FILE = re.compile(r"(.+)_test_split([123])\.txt")
_UCF_GROUP = re.compile(r"v_(.+_g\d+)_c\d+")
_HMDB_SPLITS = {"1": "train", "2": "val"}  # 0: the clip is unused in this split


def ucf_files(texts: list[Path], split: int) -> dict[str, Path]:
    """Return the class list and the two lists of a split: classes, train, val."""
    wanted = {"classind.txt": "classes", f"trainlist0{split}.txt": "train", f"testlist0{split}.txt": "val"}
    files: dict[str, Path] = {}
    for path in texts:
        if role := wanted.get(path.name.lower()):
            files.setdefault(role, path)
    return files


def read_ucf101(found: Found, texts: list[Path], options: DatasetOptions) -> Dataset:
    """Return the table of a copy of UCF101; the test list of the split is `val`.

    Paths are compared without case: the files in the folder HandstandPushups are named v_HandStandPushups.

    Raises:
        DatasetError: a list is missing, there are no clips, or a list has an error.
    """
    files = ucf_files(texts, options.split)
    wanted = {
        "classes": "classInd.txt",
        "train": f"trainlist0{options.split}.txt",
        "val": f"testlist0{options.split}.txt",
    }
    for role, name in wanted.items():
        if role not in files:
            hint = "it is part of ucfTrainTestlist; if it is elsewhere, give its folder with --annotations"
            raise DatasetError(f"no {name}", where=found.root, hint=hint)
    names = read_class_list(files["classes"])
    label_of = {name.lower(): label for label, name in enumerate(names)}
    rows, tally = Rows([HEAD]), Tally()
    sources = Sources(found, options.sources, key=lambda _, name: name.lower())
    groups: dict[str, set[str]] = {"train": set(), "val": set()}
    for split in ("train", "val"):
        for line, text in read_lines(files[split]):
            path, _, number = text.partition(" ")
            folder, slash, _ = path.partition("/")
            if not slash:
                raise fault(files[split], line, "is not Class/file.avi", text)
            label = label_of.get(folder.lower())
            if label is None:
                raise fault(files[split], line, "class is not in classInd.txt", folder)
            if number and number.strip() != str(label + 1):
                raise fault(files[split], line, f"{folder} has number {label + 1} in classInd.txt", number)
            clip = stem(path)
            if match := _UCF_GROUP.fullmatch(clip):
                groups[split].add(match[1].lower())
            _add(clip, clip.lower(), split, label, files[split], line, rows, tally, sources)
    notes = found.notes(list(files.values())) + tally.notes() + sources.notes()
    if both := sorted(groups["train"] & groups["val"]):
        shared = counted(len(both), "source group is", "source groups are")
        notes.append(f"{shared} in both lists (for example {both[0]!r}): val accuracy will be too high")
    classes, listed = {HEAD: names}, ("train", "val")
    reading = Reading(f"UCF101, official split {options.split}", tuple(files.values()))
    return make_dataset(
        "ucf101", found.root, rows, classes, reading=reading, label_order="file", notes=notes, listed=listed
    )


def read_hmdb51(found: Found, texts: list[Path], options: DatasetOptions) -> Dataset:
    """Return the table of a copy of HMDB51; the 30 test clips per class of the split are `val`.

    Raises:
        DatasetError: there are no lists of the split or no clips, or a list has an error.
    """
    files = hmdb_files(texts, options.split)
    if not files:
        hint = "they are in testTrainMulti_7030_splits; if it is elsewhere, give it with --annotations"
        raise DatasetError(f"no <class>_test_split{options.split}.txt", where=found.root, hint=hint)
    names = sorted(files)
    rows, tally = Rows([HEAD]), Tally()
    sources = Sources(found, options.sources, key=lambda _, name: name)
    for label, name in enumerate(names):
        for line, text in read_lines(files[name]):
            file, _, number = text.rpartition(" ")
            split = _HMDB_SPLITS.get(number)
            if not file or (split is None and number != "0"):
                raise fault(files[name], line, "is not a file name and 0, 1 or 2", text)
            clip = stem(file.strip())
            if split is None:
                sources.find(clip)
                tally.add(f"clip is unused in split {options.split}", f"clips are unused in split {options.split}", "")
            else:
                _add(f"{name}/{clip}", clip, split, label, files[name], line, rows, tally, sources, folder=name)
    notes = found.notes(list(files.values())) + tally.notes() + sources.notes()
    classes, listed = {HEAD: names}, ("train", "val")
    reading = Reading(f"HMDB51, official split {options.split}", tuple(files.values()))
    return make_dataset(
        "hmdb51", found.root, rows, classes, reading=reading, label_order="sorted", notes=notes, listed=listed
    )


def hmdb_files(texts: list[Path], split: int) -> dict[str, Path]:
    """Return the lists of a split by class."""
    files: dict[str, Path] = {}
    for path in texts:
        if (match := HMDB_FILE.fullmatch(path.name)) and match[2] == str(split):
            files.setdefault(match[1], path)
    return files


def _add(
    clip: str,
    key: str,
    split: str,
    label: int,
    path: Path,
    line: int,
    rows: Rows,
    tally: Tally,
    sources: Sources,
    *,
    folder: str | None = None,
) -> None:
    """Add one line of a list."""
    if clip in rows:
        if rows.labels(clip) != (label,) or rows.split(clip) != split:
            raise fault(path, line, "clip is listed twice with different labels or splits", clip)
        tally.repeated(clip)
        return
    source = sources.find(key, (lambda path: f"/{folder}/" in f"/{path}") if folder else None)
    if source is None:
        if rows.lack(clip, split):
            tally.absent(split, "lists", clip)
    else:
        rows.add(clip, split, [label], source)


def detect_ucf101(found: Found, texts: list[Path], options: DatasetOptions) -> str | None:
    """Detect the class list and a list of the chosen split."""
    files = ucf_files(texts, options.split)
    if "classes" in files and len(files) > 1:
        return f"classInd.txt and the lists of split {options.split} are here"
    return None


def detect_hmdb51(found: Found, texts: list[Path], options: DatasetOptions) -> str | None:
    """Detect the lists of the chosen split."""
    files = hmdb_files(texts, options.split)
    return f"{min(files.values()).name} and {len(files) - 1} similar lists are here" if files else None


def _ucf101_files(base: str, splits: Sequence[str]) -> list[RemoteFile]:
    return [
        _archive(f"{base}/UCF101TrainTestSplits-RecognitionTask.zip", ".", "ucfTrainTestlist"),
        _archive(f"{base}/UCF101.rar", ".", "UCF-101"),
    ]


def _hmdb51_files(base: str, splits: Sequence[str]) -> list[RemoteFile]:
    return [
        _archive(f"{base}/test_train_splits.rar", ".", "testTrainMulti_7030_splits"),
        _archive(f"{base}/hmdb51_org.rar", "hmdb51_org", "hmdb51_org", nested=True),
    ]


def _archive(url: str, target: str, provides: str, *, nested: bool = False) -> RemoteFile:
    return RemoteFile(url=url, kind="archive", target=target, provides=provides, nested=nested)


UCF101 = DatasetSpec(
    name="ucf101",
    title="UCF101",
    read=read_ucf101,
    detect=detect_ucf101,
    num_classes={HEAD: 101},
    # As in torchvision/datasets/ucf101.py and many other scripts; the owner's page is crcv.ucf.edu/data/UCF101.php
    download=Download(address="https://www.crcv.ucf.edu/data/UCF101", files=_ucf101_files),
)
HMDB51 = DatasetSpec(
    name="hmdb51",
    title="HMDB51",
    read=read_hmdb51,
    detect=detect_hmdb51,
    num_classes={HEAD: 51},
    # The owner's page (CC BY 4.0; github.com/serre-lab/Lab-Website, resources/hmdb-a-large-human-motion-database.md)
    # links these as the official files; its former server, serre-lab.clps.brown.edu, is gone (fiftyone, pull request
    # 6528).
    download=Download(address="https://huggingface.co/datasets/Serrelab/hmdb51/resolve/main", files=_hmdb51_files),
)
