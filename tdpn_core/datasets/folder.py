"""Class folders: `root/<class>/...`, or `root/{train,val[,test]}/<class>/...`, of videos or of folders of pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from tdpn_core.datasets.groups import find_groups, split_groups
from tdpn_core.datasets.options import DatasetOptions
from tdpn_core.datasets.scan import Found
from tdpn_core.datasets.sources import Sources
from tdpn_core.datasets.table import HEAD, Dataset, Rows, make_dataset
from tdpn_core.datasets.understanding import Reading
from tdpn_core.errors import DatasetError

SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training", "train_256", "videos_train", "rawframes_train"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "val_256", "videos_val", "rawframes_val"), "val"),
    **dict.fromkeys(("test", "testing", "test_256", "videos_test", "rawframes_test"), "test"),
}


def read_folder(found: Found, options: DatasetOptions) -> Dataset:
    """A table of the clips that were found; the first folder of each path (after the split's) is its class.

    Without a validation folder, a fifth of the training clips becomes one, by source group (`groups`).

    Raises:
        DatasetError: no class folders with clips.
    """
    notes = found.notes()
    sources = Sources(found, options.sources, key=lambda path, _: path)
    paths = sources.unused()
    by_split = has_split_folders(paths)
    placed = [path for path in paths if _place(path, by_split) is not None]
    if not placed:
        root = found.root
        hint = f"expected {root}/<class>/<video>, or {root}/train/<class>/<video>"
        raise DatasetError("no class folders with videos", where=root, hint=hint)
    if len(paths) > len(placed):
        where = "in no class folder" + (" of a split" if by_split else "")
        notes.append(f"{len(paths) - len(placed)} videos lie {where}")
    del paths
    spelled: dict[str, str] = {}  # one string a class, not one a clip
    splits, labels = [], []
    for split, label, _ in (_place(path, by_split) or ("", "", "") for path in placed):
        splits.append(split)
        labels.append(spelled.setdefault(label, label))
    groups = set_aside(
        splits, lambda row: (_place(placed[row], by_split) or ("", "", ""))[2], labels, options.seed, notes
    )
    names = sorted(spelled)
    number = {name: label for label, name in enumerate(names)}
    rows = Rows([HEAD])
    for path, label, split in zip(placed, labels, splits, strict=True):
        source = sources.find(path)
        if source is not None:
            rows.add(path, split, [number[label]], source)
    notes += sources.left()
    del sources
    reading = Reading("a folder for each class, below folders of splits" if by_split else "a folder for each class")
    drawn = {placed[row]: group for row, group in groups.items() if placed[row] in rows}
    return make_dataset(
        "folder",
        found.root,
        rows,
        {HEAD: names},
        reading=reading,
        label_order="sorted",
        notes=notes,
        groups=drawn,
        seed=options.seed,
    )


def has_split_folders(paths: Sequence[str]) -> bool:
    """Whether clips lie in class folders below a training folder."""
    return any("/" in path[path.find("/") + 1 :] and SPLIT_FOLDERS.get(path[: path.find("/")].lower()) == "train"
               for path in paths)  # fmt: skip


def _place(path: str, by_split: bool) -> tuple[str, str, str] | None:
    """(split, class, what follows it) of a path; None if it lies in no class folder. Without splits, all is train."""
    split = "train"
    if by_split:
        folder, _, path = path.partition("/")
        split = SPLIT_FOLDERS.get(folder.lower(), "")
    label, slash, rest = path.partition("/")
    return (split, label, rest) if slash and split else None


def set_aside(
    splits: list[str], within: Callable[[int], str], classes: Sequence[str], seed: int, notes: list[str]
) -> dict[int, str]:
    """Make a fifth of the training clips the validation split, if there is none.

    Args:
        splits: train, val or test of each clip; changed in place.
        within: path within its class folder by the clip's row; its names may tell which clips are of one recording.
        classes: of each clip.
        seed: of the draw.
        notes: get a line on what was done.

    Returns:
        The source group of each clip that was drawn, by its row; empty where the split was given.
    """
    if "val" in splits or "train" not in splits:
        return {}
    pool = [row for row, split in enumerate(splits) if split == "train"]
    labels = [classes[row] for row in pool]
    grouping = find_groups([within(row) for row in pool], labels)
    drawn = split_groups(grouping.groups, labels, seed)
    for row, split in zip(pool, drawn, strict=True):
        splits[row] = split
    notes.append(
        f"no validation split: {drawn.count('val')} of {len(pool)} clips were set aside for validation, "
        f"by {len(set(grouping.groups))} source groups, seed {seed}"
    )
    if grouping.unknown:
        some = ", ".join(grouping.unknown[:5]) + (", …" if len(grouping.unknown) > 5 else "")
        notes.append(
            f"the names of {len(grouping.unknown)} classes ({some}) tell no source groups: clips of one recording may "
            "lie on both sides of the split"
        )
    validated = Counter(label for label, split in zip(labels, drawn, strict=True) if split == "val")
    lonely = sorted(set(labels) - set(validated))
    if lonely:
        notes.append(
            f"{len(lonely)} classes have a single source group and no validation clip: {', '.join(lonely[:5])}"
        )
    return dict(zip(pool, grouping.groups, strict=True))
