"""Find the video files below a folder, without opening anything that is not a regular file."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tdpn_core.errors import DatasetError

VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .m2ts .wmv .asf .flv .ogv .3gp".split()  # noqa: SIM905 - reads better
)
_IGNORED = ("__MACOSX",)


@dataclass
class Found:
    """What lies below a folder."""

    root: Path
    videos: list[Path] = field(default_factory=list)
    """Sorted paths of regular files, or of links to some, with a suffix of `VIDEO_SUFFIXES`."""

    others: Counter[str] = field(default_factory=Counter)
    """Number of other regular files, by suffix."""

    special: list[str] = field(default_factory=list)
    """What would hang or fail when opened: pipes, sockets, devices, links to nowhere."""

    def notes(self) -> list[str]:
        """What was passed over, in words."""
        lines = []
        if self.others:
            kinds = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in self.others.most_common(5))
            lines.append(f"{sum(self.others.values())} files are not videos ({kinds})")
        if self.special:
            lines.append(f"{len(self.special)} entries are no regular files: {', '.join(self.special[:5])}")
        return lines


def scan(root: Path) -> Found:
    """Walk through `root`, following links but no folder twice.

    Raises:
        DatasetError: `root` is not a folder, or it or a folder below cannot be read.
    """
    if not root.is_dir():
        raise DatasetError("is not a folder", where=root, hint="--root is where the data set's videos lie")
    found = Found(root)
    try:
        for path, kind in _walk(root, set()):
            if not stat.S_ISREG(kind):
                found.special.append(f"{path.relative_to(root)} ({_KINDS.get(stat.S_IFMT(kind), 'dead link')})")
            elif path.suffix.lower() in VIDEO_SUFFIXES:
                found.videos.append(path)
            else:
                found.others[path.suffix.lower()] += 1
    except OSError as error:
        raise DatasetError(f"cannot be read: {error.strerror}", where=error.filename or root) from error
    found.videos.sort()
    return found


_KINDS = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}


def _walk(folder: Path, seen: set[tuple[int, int]]) -> Iterator[tuple[Path, int]]:
    """Every entry below `folder` that is no folder, with its file mode; 0 for a link to nowhere."""
    state = folder.stat()
    if (state.st_dev, state.st_ino) in seen:  # links that lead in a circle
        return
    seen.add((state.st_dev, state.st_ino))
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        path = folder / name
        if name.startswith(".") or name in _IGNORED:
            continue
        try:
            kind = path.stat().st_mode
        except OSError:
            kind = 0
        if stat.S_ISDIR(kind):
            yield from _walk(path, seen)
        else:
            yield path, kind
