"""Class folders: `root/<class>/...`, or `root/{train,val[,test]}/<class>/...`, of videos or picture folders.

A folder that contains all of these (`root/videos/train/<class>/...`) is skipped over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from os.path import commonpath
from pathlib import Path

from tdpn_core.datasets.clip_table import HEAD, Dataset, Rows, make_dataset
from tdpn_core.datasets.media_index import Sources
from tdpn_core.datasets.options import DatasetOptions
from tdpn_core.datasets.scan import Found
from tdpn_core.datasets.spec import DatasetSpec
from tdpn_core.datasets.spelling import unify
from tdpn_core.datasets.splits import merged_names, split_of_folder
from tdpn_core.datasets.train_val_split import draw_split, find_groups
from tdpn_core.datasets.understanding import Reading
from tdpn_core.errors import DatasetError
from tdpn_core.wording import counted

_LAYOUT = "a class folder is a folder of clips of one class"


def read_folder(found: Found, texts: list[Path], options: DatasetOptions) -> Dataset:
    """Return the table of the clips found; the first folder of each path (after the split's) is its class.

    Without a validation folder, a fifth of the training clips is used for it, by source group (`groups`).

    Raises:
        DatasetError: there are no class folders with clips, or split folders contain clips but no class folders.
    """
    notes = found.notes()
    if given := options.annotation_paths():
        what = "classes are the folder names; --annotations is not used"
        notes.insert(0, f"{what}: {', '.join(path.name for path in given)}")
    sources = Sources(found, options.sources, key=lambda path, _: path)
    paths = sources.unused()
    wrapper = wrapper_of(paths)
    if wrapper:
        notes.append(f"all clips are in {wrapper}: it is read as the root")
    inner = [path.removeprefix(wrapper) for path in paths]
    by_split = has_split_folders(inner)
    if by_split:
        notes += merged_names(path.partition("/")[0] for path in inner)
    else:
        _refuse_flat_splits(inner, found.root)
    places = [_place(path, by_split) for path in inner]
    placed = [(path, *place) for path, place in zip(paths, places, strict=True) if place is not None]
    if not placed:
        root = found.root
        hint = f"expected {root}/<class>/<video>, or {root}/train/<class>/<video>"
        raise DatasetError("no class folders with videos", where=root, hint=hint)
    if len(paths) > len(placed):
        left = sorted({path.rpartition("/")[0] for path, place in zip(inner, places, strict=True) if place is None})
        where = "not in a class folder" + (" of a split" if by_split else "")
        videos = counted(len(paths) - len(placed), "video is", "videos are")
        notes.append(f"{videos} {where}: {', '.join(one or 'the root' for one in left[:5])}")
    del paths, inner, places
    met: dict[str, set[str]] = {}
    for _, split, label, _ in placed:
        met.setdefault(label, set()).add(split)
    class_of, spelled = unify(met)
    notes += spelled
    splits = [split for _, split, _, _ in placed]
    labels = [class_of[label] for _, _, label, _ in placed]
    groups = set_aside(splits, lambda row: placed[row][3], labels, options.seed, notes)
    names = sorted(set(labels))
    number = {name: label for label, name in enumerate(names)}
    rows = Rows([HEAD])
    for (path, *_), label, split in zip(placed, labels, splits, strict=True):
        source = sources.find(path)
        if source is not None:
            rows.add(path, split, [number[label]], source)
    notes += sources.left()
    del sources
    layout = "a folder per class" + (", below folders of splits" if by_split else "")
    reading = Reading(layout + (f", in {wrapper}" if wrapper else ""))
    return make_dataset(
        "folder",
        found.root,
        rows,
        {HEAD: names},
        reading=reading,
        label_order="sorted",
        notes=notes,
        groups={placed[row][0]: group for row, group in groups.items() if placed[row][0] in rows},
        seed=options.seed,
    )


def wrapper_of(paths: Iterable[str]) -> str:
    """Return the folders above all class and split folders, with a trailing `/`; "" if there are none.

    They contain all clips, and none directly: a folder that directly contains clips is a class folder.
    """
    folders = {path.rpartition("/")[0] for path in paths} - {""}
    shared = commonpath(folders) if folders else ""
    if not shared:
        return ""
    names = shared.split("/")
    split = next((place for place, name in enumerate(names) if split_of_folder(name)), None)
    if split is None and shared in folders:
        return ""
    return "".join(f"{name}/" for name in names[:split])


def has_split_folders(paths: Sequence[str]) -> bool:
    """Return whether clips are in class folders below a training folder."""
    return any("/" in path[path.find("/") + 1 :] and split_of_folder(path[: path.find("/")]) == "train"
               for path in paths)  # fmt: skip


def _refuse_flat_splits(paths: Sequence[str], root: Path) -> None:
    """Refuse split folders that directly contain clips: they would be read as classes."""
    tops = sorted({path.partition("/")[0] for path in paths if "/" in path})
    flat = [top for top in tops if split_of_folder(top)]
    if flat:
        what = (
            f"{', '.join(flat)} would be {'a class' if len(flat) == 1 else 'classes'}, but that is the name of a split"
        )
        hint = f"{_LAYOUT}: {root}/{flat[0]}/<class>/<video>; or give the classes in a list file and use prep list"
        raise DatasetError(what, where=root, hint=hint)


def _place(path: str, by_split: bool) -> tuple[str, str, str] | None:
    """Return (split, class, rest) of a path; None if not in a class folder. Without splits, all is train."""
    split = "train"
    if by_split:
        folder, _, path = path.partition("/")
        split = split_of_folder(folder) or ""
    label, slash, rest = path.partition("/")
    return (split, label, rest) if slash and split else None


def set_aside(
    splits: list[str], within: Callable[[int], str], classes: Sequence[Sequence[str]], seed: int, notes: list[str]
) -> dict[int, str]:
    """Use a fifth of the training clips for validation, if there is no validation split.

    Args:
        splits: split of each clip (train, val or test); changed in place.
        within: path within its class folder by the clip's row; its name may identify the recording.
        classes: classes of each clip: one, or any number in multi-label data.
        seed: seed of the draw.
        notes: list to which a description is appended.

    Returns:
        Source group by row of each clip that was drawn; empty if the split was given.
    """
    if "val" in splits or "train" not in splits:
        return {}
    pool = [row for row, split in enumerate(splits) if split == "train"]
    labels = [classes[row] for row in pool]
    grouping = find_groups([within(row) for row in pool], [" + ".join(names) for names in labels])
    drawn, note = draw_split(grouping.groups, labels, seed)
    for row, split in zip(pool, drawn, strict=True):
        splits[row] = split
    notes.append(note)
    if grouping.unknown:
        some = ", ".join(grouping.unknown[:5]) + (", …" if len(grouping.unknown) > 5 else "")
        unnamed = counted(len(grouping.unknown), "class", "classes")
        notes.append(
            f"the names of {unnamed} ({some}) do not identify source groups: clips "
            "of one recording may be on both sides of the split"
        )
    return dict(zip(pool, grouping.groups, strict=True))


def detect_folder(found: Found, texts: list[Path], options: DatasetOptions) -> str | None:
    """Detect folders that would be classes."""
    paths = found.videos + found.folders
    wrapper = wrapper_of(paths)
    paths = [path.removeprefix(wrapper) for path in paths]
    where = f"{wrapper} contains the clips; " if wrapper else ""
    if has_split_folders(paths):
        return f"{where}class folders are in a folder of training clips"
    classes = {path.partition("/")[0] for path in paths if "/" in path}
    return f"{where}{len(classes)} folders of clips, read as classes" if classes else None


FOLDER = DatasetSpec(name="folder", title="Class folders", read=read_folder, detect=detect_folder)
