"""Find the file, folder or tar of a clip that an annotation names, and the names of its pictures."""

from __future__ import annotations

import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from tdpn_core.datasets.clip_table import FRAMES, TAR, VIDEO, Source
from tdpn_core.datasets.options import SourceChoice
from tdpn_core.datasets.scan import PICTURE, Found, name_of, stem
from tdpn_core.wording import agree, counted

_LOOKED_AT = 3  # picture folders examined among siblings; if they agree, all do
_MEMBERS = 64  # members read of a tar if only the pictures' name pattern is needed
_NOT_RGB = re.compile(r"(?:flow|flow_?[xyuv]|[xyuv])[_-]?", re.IGNORECASE)
_FALLBACK = ("%05d.jpg", 1)  # for an empty folder; decoding reports the error
_ORDER = {"auto": (VIDEO, FRAMES, TAR), "videos": (VIDEO,), "frames": (FRAMES, TAR)}


class Sources:
    """Sources found on disk, by a key of their path: the stem, unless `key` is given.

    If several paths of one kind have the same key, they are used in sorted order.
    """

    def __init__(
        self,
        found: Found,
        choice: SourceChoice = "auto",
        *,
        key: Callable[[str, str], str | None] = lambda path, name: name,
        whole_tars: bool = True,
    ) -> None:
        """Index the paths.

        Args:
            found: the paths.
            choice: kinds of sources to use, and their preference.
            key: returns the key for a path and its last part without suffix; None if it is not a clip.
            whole_tars: whether to read all names of a tar, to find its first picture.
        """
        self._names = PictureNames(found.root, whole_tars=whole_tars)
        self._kinds: dict[str, dict[str, str]] = {}
        self._more: dict[tuple[str, str], list[str]] = {}
        self._used: set[str] = set()
        self._taken: set[str] = set()  # paths that share their key
        paths = {VIDEO: found.videos, FRAMES: found.folders, TAR: found.tars}
        self.left_out = sum(len(paths[kind]) for kind in paths if kind not in _ORDER[choice])
        for kind in _ORDER[choice]:
            self._kinds[kind] = self._index(kind, paths[kind], key)

    def _index(self, kind: str, paths: Iterable[str], key: Callable[[str, str], str | None]) -> dict[str, str]:
        index: dict[str, str] = {}
        for path in paths:
            name = key(path, name_of(path) if kind == FRAMES else stem(path))
            if name is None:
                continue
            if index.setdefault(name, path) is not path:
                self._more.setdefault((kind, name), []).append(path)
        return index

    def __len__(self) -> int:
        return sum(map(len, self._kinds.values())) + sum(map(len, self._more.values()))

    def keys(self) -> set[str]:
        """Return all keys."""
        return {name for index in self._kinds.values() for name in index}

    def paths(self, name: str) -> list[str]:
        """Return all paths of a key, videos before frames."""
        return [path for kind in self._kinds for path in self._of(kind, name)]

    def find(self, name: str, prefer: Callable[[str], bool] | None = None) -> Source | None:
        """Return the source for a key; among several of one kind, the first preferred one."""
        for kind in self._kinds:
            paths = self._of(kind, name)
            if paths:
                path = next(filter(prefer, paths), paths[0]) if prefer and len(paths) > 1 else paths[0]
                self._used.add(name)
                if len(paths) > 1:
                    self._taken.add(path)
                return self.describe(path, kind)
        return None

    def describe(self, path: str, kind: str) -> Source:
        """Return a path as in the table."""
        if kind == VIDEO:
            return Source(path, kind)
        pattern, first = self._names.of(path, kind)
        return Source(path, kind, pattern, first)

    def unused(self) -> list[str]:
        """Return keys that no clip used."""
        left = sorted(name for index in self._kinds.values() for name in index if name not in self._used)
        return [name for row, name in enumerate(left) if row == 0 or name != left[row - 1]]

    def notes(self) -> list[str]:
        """Return notes on sources that are not used."""
        lines = []
        unused = self.unused()
        if unused:
            clips = f"{counted(len(unused), 'clip')} on disk {agree(len(unused), 'is', 'are')}"
            lines.append(f"{clips} not in any annotation file (for example {unused[0]!r})")
        return lines + self.left()

    def left(self) -> list[str]:
        """Return the `notes` that do not concern annotations: copies, and sources excluded by choice."""
        lines = []
        copies = sum(self._copies(name) for name in self._used)
        if copies:
            further = counted(copies, "further copy of a clip", "further copies of clips")
            are = agree(copies, "is", "are")
            lines.append(f"{further} (other containers, folders or frames) {are} not used")
        if self.left_out:
            files = counted(self.left_out, "file or folder is", "files or folders are")
            lines.append(f"{files} of the kind that --sources excludes")
        return lines

    def _copies(self, name: str) -> int:
        paths = self.paths(name)
        return len(paths) - max(1, sum(path in self._taken for path in paths)) if len(paths) > 1 else 0

    def _of(self, kind: str, name: str) -> list[str]:
        first = self._kinds[kind].get(name)
        return [] if first is None else [first, *self._more.get((kind, name), ())]


class PictureNames:
    """Name pattern and first number of pictures, from examining a few sibling folders.

    A folder's own name may be part of its pictures' names.
    """

    def __init__(self, root: Path, *, whole_tars: bool = True) -> None:
        self._root = root
        self._whole_tars = whole_tars
        self._seen: dict[tuple[str, str], list[tuple[str, int]]] = {}

    def of(self, path: str, kind: str) -> tuple[str, int]:
        """Return (pattern, first number) of the folder or tar at `path`."""
        parent, _, name = path.rpartition("/")
        name = stem(name) if kind == TAR else name
        seen = self._seen.setdefault((parent, kind), [])
        agreed = len(seen) >= _LOOKED_AT and len(set(seen)) == 1
        known = seen[0] if agreed else self._look(self._root / path, kind, name)
        if known is not None and not agreed:
            seen.append(known)
        pattern, first = known or (seen[0] if seen else _FALLBACK)
        return pattern.replace("\0", name.replace("%", "%%")), first

    def _look(self, path: Path, kind: str, name: str) -> tuple[str, int] | None:
        if kind == FRAMES:
            return picture_pattern((entry.name for entry in path.iterdir()), name) if path.is_dir() else None
        try:
            with tarfile.open(path, "r:") as archive:
                members = archive if self._whole_tars else islice(archive, _MEMBERS)
                return picture_pattern((name_of(member.name) for member in members if member.isreg()), name)
        except (OSError, tarfile.TarError):  # reported when the clip is decoded
            return None


def picture_pattern(names: Iterable[str], folder: str) -> tuple[str, int] | None:
    """Return (pattern, lowest number) of the most frequent series of numbered pictures, with `folder` as a NUL.

    Optical flow pictures among them (for example from denseflow) are ignored.
    """
    widths: dict[tuple[str, str], int] = {}
    lowest: dict[tuple[str, str], int] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for name in names:
        match = PICTURE.fullmatch(name)
        if not match or _NOT_RGB.fullmatch(match[1]):
            continue
        series = (match[1], match[3])
        counts[series] += 1
        widths[series] = min(widths.get(series, len(match[2])), len(match[2]))
        lowest[series] = min(lowest.get(series, int(match[2])), int(match[2]))
    if not counts:
        return None
    series = min(counts, key=lambda one: (-counts[one], one))
    before, after = (part.replace("%", "%%") for part in series)
    if folder and (escaped := folder.replace("%", "%%")) in before:
        before = before.replace(escaped, "\0")
    number = "%d" if widths[series] == 1 else f"%0{widths[series]}d"
    return f"{before}{number}{after}", lowest[series]
