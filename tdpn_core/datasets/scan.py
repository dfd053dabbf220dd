"""Find videos, picture folders and annotation files below a folder without opening them.

Paths are strings relative to the root, with `/` between folders: an object for each of a million paths is too
expensive. Picture folders are recognised by examining a few of them; a set of 200,000 such folders is not listed one
by one.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from tdpn_core.errors import DatasetError
from tdpn_core.wording import counted

VIDEO_SUFFIXES = frozenset((
    ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".f4v", ".flv", ".mkv", ".webm", ".avi", ".divx",
    ".mpg", ".mpeg", ".vob", ".ts", ".mts", ".m2ts", ".wmv", ".asf", ".ogv", ".mxf", ".gif",
))  # fmt: skip
"""Video suffixes, in lower case; docs/data.md lists them."""

TEXT_SUFFIXES = frozenset((".csv", ".tsv", ".json", ".txt", ".list", ".xml", ".eaf"))
PICTURE = re.compile(r"(.*?)(\d+)(\.(?:jpe?g|png))", re.IGNORECASE | re.DOTALL)
"""Name of a numbered picture: prefix, number, suffix."""

_IGNORED = ("__MACOSX",)
_MOST_LINKED = 10_000  # largest number of folders that are read a second time
_TEXT_DEPTH = 4  # deepest level of annotation files; deeper text files belong to clips
_PEEK = 256  # entries examined to recognise a picture folder


@dataclass
class Found:
    """Content of a folder; every list is sorted."""

    root: Path
    videos: list[str] = field(default_factory=list)
    """Regular files with a suffix of `VIDEO_SUFFIXES`, or links to them."""

    folders: list[str] = field(default_factory=list)
    """Folders of numbered pictures."""

    tars: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    """Files that may be annotations: suffixes `TEXT_SUFFIXES`, at most `_TEXT_DEPTH` folders deep."""

    others: Counter[str] = field(default_factory=Counter)
    """Number of other regular files, by suffix."""

    special: list[str] = field(default_factory=list)
    """Entries that would block or fail when opened: pipes, sockets, devices, broken and circular links."""

    linked: list[str] = field(default_factory=list)
    """Links to folders that are also read under another path."""

    def notes(self, used: Collection[Path] = ()) -> list[str]:
        """Return notes on skipped entries; `used` are annotation files, which are not skipped."""
        lines = []
        read = {str(path) for path in used}
        others = self.others + Counter(suffix(text) for text in self.texts if str(self.root / text) not in read)
        if others:
            kinds = ", ".join(f"{count} {ending or 'without suffix'}" for ending, count in others.most_common(5))
            files = counted(sum(others.values()), "file is not a video", "files are not videos")
            lines.append(f"{files} ({kinds})")
        if self.special:
            entries = counted(len(self.special), "entry is not a regular file", "entries are not regular files")
            lines.append(f"{entries}: {', '.join(self.special[:5])}")
        if self.linked:
            also = "also read under another path"
            links = counted(len(self.linked), f"link points to a folder {also}", f"links point to folders {also}")
            lines.append(f"{links}: {', '.join(self.linked[:5])}")
        return lines


def name_of(path: str) -> str:
    """Return the last part of a path."""
    return path[path.rfind("/") + 1 :]


def stem(path: str) -> str:
    """Return the last part of a path without its suffix."""
    name = name_of(path)
    dot = name.rfind(".")
    return name[:dot] if dot > 0 else name


def suffix(path: str) -> str:
    """Return the suffix in lower case, with its dot."""
    name = name_of(path)
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def scan(root: Path) -> Found:
    """Walk through `root`, following links unless they point to a folder above them.

    Raises:
        DatasetError: `root` is not a folder, or it or a folder below cannot be read.
    """
    if not root.is_dir():
        raise DatasetError("is not a folder", where=root, hint="--root must be the folder of the data set's videos")
    found = Found(root)
    try:
        _walk(found)
    except OSError as error:
        raise DatasetError(f"cannot be read: {error.strerror}", where=error.filename or root) from error
    for paths in (found.videos, found.folders, found.tars, found.texts, found.special, found.linked):
        paths.sort()
    return found


_KINDS = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}


def _walk(found: Found) -> None:
    seen: set[tuple[int, int]] = set()
    waiting: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", ())]  # a folder and its parents
    while waiting:
        prefix, above = waiting.pop()
        folder = os.path.join(found.root, prefix)  # noqa: PTH118 - a million of them
        state = os.stat(folder)  # noqa: PTH116
        this = (state.st_dev, state.st_ino)
        if this in above:
            found.special.append(f"{prefix[:-1]} (link to a folder above it)")
            continue
        if this in seen:
            found.linked.append(prefix[:-1])
            if len(found.linked) > _MOST_LINKED:  # links of links multiply
                continue
        seen.add(this)
        videos, pictures, below = len(found.videos), 0, []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name in _IGNORED:
                    continue
                if _is_folder(entry):
                    below.append(entry.name)
                elif _is_picture(entry.name):
                    pictures += 1
                else:
                    _sort_in(entry, prefix, found)
        if pictures and not below and prefix and len(found.videos) == videos:
            found.folders.append(prefix[:-1])
        elif pictures:
            found.others["pictures"] += pictures
        if below and _hold_pictures(folder, sorted(below)):
            found.folders += [prefix + name for name in below]
        else:
            inside = (*above, this)
            waiting += [(f"{prefix}{name}/", inside) for name in sorted(below, reverse=True)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_picture(name: str) -> bool:
    return PICTURE.fullmatch(name) is not None


def _sort_in(entry: os.DirEntry[str], prefix: str, found: Found) -> None:
    """Add an entry that is not a folder to the list it belongs to."""
    path = prefix + entry.name
    try:
        regular = entry.is_file()
    except OSError:
        regular = False
    ending = suffix(entry.name)
    if not regular:
        found.special.append(f"{path} ({_special(entry)})")
    elif ending in VIDEO_SUFFIXES:
        found.videos.append(path)
    elif ending == ".tar":
        found.tars.append(path)
    elif ending in TEXT_SUFFIXES and path.count("/") <= _TEXT_DEPTH:
        found.texts.append(path)
    else:
        found.others[ending] += 1


def _special(entry: os.DirEntry[str]) -> str:
    try:
        return _KINDS.get(stat.S_IFMT(entry.stat().st_mode), "dead link")
    except OSError:
        return "dead link"


def _hold_pictures(folder: str, names: list[str]) -> bool:
    """Return whether the first, middle and last sub-folder are picture folders; then all are assumed to be."""
    verdicts = [_peek(os.path.join(folder, name)) for name in {names[0], names[len(names) // 2], names[-1]}]  # noqa: PTH118
    return True in verdicts and False not in verdicts


def _peek(folder: str) -> bool | None:
    """Return whether a folder contains numbered pictures, but neither videos nor folders; None if it is empty."""
    pictures = None
    with os.scandir(folder) as entries:
        for _, entry in zip(range(_PEEK), entries, strict=False):
            if entry.name.startswith("."):
                continue
            if suffix(entry.name) in VIDEO_SUFFIXES or _is_folder(entry):
                return False
            pictures = bool(pictures) or _is_picture(entry.name)
    return pictures
