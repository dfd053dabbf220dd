"""Names of splits, for folders, list files and split columns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

SYNONYMS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validate", "validation", "dev", "devel", "development", "eval", "evaluation"),
    "test": ("test", "testing", "tst"),
}
"""Synonyms of each split, in lower case; folders and files may add to them: `videos_train`, `val_256`, `testlist01`."""

_SPLIT_OF = {name: split for split, names in SYNONYMS.items() for name in names}
_ATTACHED = re.compile(
    r"(?:videos?|rawframes?|frames|clips)[_-]|[_-](?:\d+|set|split|videos?|frames|clips|data)|set\d*"
)
_TOKEN = re.compile(r"[a-z]+")
_ENDING = re.compile(r"(?:list|set|split|data|file)s?$")


def split_of_folder(name: str) -> str | None:
    """Return the split that a folder name or a value of a split column refers to, if any."""
    plain = name.strip().lower()
    return _SPLIT_OF.get(plain) or _SPLIT_OF.get(_ATTACHED.sub("", plain))


def split_of_file(stem: str) -> str | None:
    """Return the split that a word of a file name refers to: `kinetics400_train_list_videos`, `testlist01`."""
    words = _TOKEN.findall(stem.lower())
    return next(
        (split for word in words if (split := _SPLIT_OF.get(word) or _SPLIT_OF.get(_ENDING.sub("", word)))), None
    )


def split_of_path(path: Path, root: Path) -> str | None:
    """Return the split that a file's name refers to, else the innermost folder between it and `root` that names one."""
    folders = reversed(path.relative_to(root).parts[:-1]) if path.is_relative_to(root) else ()
    return split_of_file(path.stem) or next((split for name in folders if (split := split_of_folder(name))), None)


def merged_names(names: Iterable[str]) -> list[str]:
    """Return a note for each split that several folders are read as."""
    spelled: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        if split := split_of_folder(name):
            spelled.setdefault(split, []).append(name)
    return [f"{' and '.join(several)} are both read as the split {split}"
            for split, several in spelled.items() if len(several) > 1]  # fmt: skip
