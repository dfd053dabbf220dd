"""Class folders: `root/<class>/...`, or `root/{train,val[,test]}/<class>/...`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePath

from tdpn_core.datasets.groups import find_groups, split_groups
from tdpn_core.datasets.scan import Found, scan
from tdpn_core.datasets.table import HEAD, Clip, Dataset, make_dataset
from tdpn_core.errors import DatasetError

SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training", "train_256", "videos_train"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "val_256", "videos_val"), "val"),
    **dict.fromkeys(("test", "testing", "test_256", "videos_test"), "test"),
}


def read_folder(root: Path, seed: int) -> Dataset:
    """A table of the videos below `root`; the first folder of each path (after the split's) is its class.

    Without a validation folder, a fifth of the training clips becomes one, by source group (`groups`).

    Raises:
        DatasetError: no class folders with videos.
    """
    found = scan(root)
    notes = found.notes()
    placed = place(found, notes)
    if not placed:
        hint = f"expected {root}/<class>/<video>, or {root}/train/<class>/<video>"
        raise DatasetError("no class folders with videos", where=root, hint=hint)
    names = sorted({label for _, label, _ in placed})
    splits = _splits(placed, seed, notes)
    clips = [
        Clip(PurePath(video.relative_to(root)).as_posix(), video, split, {HEAD: names.index(label)})
        for (_, label, video), split in zip(placed, splits, strict=True)
    ]
    return make_dataset("folder", clips, {HEAD: names}, notes)


def place(found: Found, notes: list[str]) -> list[tuple[str | None, str, Path]]:
    """(split, class folder, video) of every video in a class folder; split None where no folder says one."""
    parts = [video.relative_to(found.root).parts for video in found.videos]
    in_splits = {SPLIT_FOLDERS[part[0].lower()] for part in parts if len(part) > 2 and part[0].lower() in SPLIT_FOLDERS}
    placed: list[tuple[str | None, str, Path]] = []
    for part, video in zip(parts, found.videos, strict=True):
        split = SPLIT_FOLDERS.get(part[0].lower()) if "train" in in_splits and len(part) > 2 else None
        if split is not None:
            placed.append((split, part[1], video))
        elif "train" not in in_splits and len(part) > 1:
            placed.append((None, part[0], video))
    outside = len(parts) - len(placed)
    if outside:
        notes.append(f"{outside} videos lie in no class folder" + (" of a split" if "train" in in_splits else ""))
    return placed


def _splits(placed: list[tuple[str | None, str, Path]], seed: int, notes: list[str]) -> list[str]:
    """The split of each clip, making a validation split where there is none."""
    given = [split or "train" for split, _, _ in placed]
    if "val" in given:
        return given
    pool = [index for index, split in enumerate(given) if split == "train"]
    labels = [placed[index][1] for index in pool]
    within = [_within_class(placed[index][2], placed[index][1]) for index in pool]
    grouping = find_groups(within, labels)
    drawn = split_groups(grouping.groups, labels, seed)
    for index, split in zip(pool, drawn, strict=True):
        given[index] = split
    notes.append(
        f"no validation folder: {drawn.count('val')} of {len(pool)} clips were set aside for validation, "
        f"by {len(set(grouping.groups))} source groups, seed {seed}"
    )
    if grouping.unknown:
        some = ", ".join(grouping.unknown[:5]) + (", …" if len(grouping.unknown) > 5 else "")
        notes.append(
            f"the names of {len(grouping.unknown)} classes ({some}) tell no source groups: clips of one recording may "
            "lie on both sides of the split"
        )
    counts = {split: Counter(label for label, drawn_split in zip(labels, drawn, strict=True) if drawn_split == split)
              for split in ("train", "val")}  # fmt: skip
    lonely = sorted(set(labels) - set(counts["val"]))
    if lonely:
        notes.append(
            f"{len(lonely)} classes have a single source group and no validation clip: {', '.join(lonely[:5])}"
        )
    return given


def _within_class(video: Path, label: str) -> PurePath:
    """The path below the class folder."""
    parts = video.parts
    return PurePath(*parts[len(parts) - 1 - parts[::-1].index(label) + 1 :])
