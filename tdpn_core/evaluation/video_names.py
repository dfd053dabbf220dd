"""Match names of videos: as annotated, as predicted, and on disk."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from tdpn_core.datasets.scan import VIDEO_SUFFIXES, suffix
from tdpn_core.errors import DatasetError

_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")  # Label Studio's prefix of uploaded files


class VideoNames:
    """Finds a name among known ones by path, file name, or file name without suffix."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = {_plain(name): name for name in known}
        self._by_key: dict[str, list[str]] = {}
        for name in self._known:
            for key in _keys(name):
                self._by_key.setdefault(key, []).append(name)

    def find(self, name: str) -> str | None:
        """Return the known name of a video; of several with its file name, the one with the most folders in common.

        Raises:
            DatasetError: several fit equally well.
        """
        asked = _plain(name)
        if asked in self._known:
            return self._known[asked]
        near = next((found for key in _keys(asked) if (found := self._by_key.get(key))), [])
        if not near:
            return None
        common = {one: _common(asked, one) for one in near}
        best = [one for one in near if common[one] == max(common.values())]
        if len(best) > 1:
            what = f"may be {' or '.join(sorted(best)[:3])}"
            raise DatasetError(what, where=name, hint="write the folders of the videos in both files")
        return self._known[best[0]]


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).replace("\\", "/")


def _keys(name: str) -> Iterator[str]:
    """Yield the names under which a video is known, the most exact first."""
    file = PurePosixPath(name).name
    yield file
    if suffix(file) in VIDEO_SUFFIXES:
        yield file[: -len(suffix(file))]
    if uploaded := _UPLOADED.fullmatch(file):
        yield from _keys(uploaded[1])


def _common(one: str, other: str) -> int:
    """Return how many folders two paths have in common, counted from the end."""
    count = 0
    for left, right in zip(reversed(one.split("/")[:-1]), reversed(other.split("/")[:-1]), strict=False):
        if left != right:
            break
        count += 1
    return count
