"""Resolve the inputs that a user names: files, folders, numbered pictures, addresses, a webcam; one per clip."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, overload

from tdpn_core.errors import ClipError, TdpnError, UsageError
from tdpn_core.frame_names import pattern_of
from tdpn_core.video.source import Source
from tdpn_core.video.url import Address, camera, network_address

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_PRINTF = re.compile(r"[^%]*%(0\d{1,2})?d[^%]*")
_GLOB = re.compile(r"[*?\[]")
_PICTURE = re.compile(r"(.*?)\d+(\.(?:jpe?g|png))", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """A clip to predict: a source, an address, or an error."""

    name: str
    """Name as given by the user."""

    source: Source | None = None
    address: Address | None = None
    error: TdpnError | None = None


class Inputs(Sequence[Input]):
    """Inputs in order. A video file takes the memory of its name, and its `Input` is made when it is asked for."""

    def __init__(self, found: Sequence[Input | str], options: _Options) -> None:
        """`found` are inputs, and names of video files."""
        self._found, self._options = found, options

    def __len__(self) -> int:
        return len(self._found)

    @overload
    def __getitem__(self, index: int) -> Input: ...

    @overload
    def __getitem__(self, index: slice) -> Inputs: ...

    def __getitem__(self, index: int | slice) -> Input | Inputs:
        if isinstance(index, slice):
            return Inputs(self._found[index], self._options)
        found = self._found[index]
        return self._options.applied(Input(name=found, source=Source(Path(found))) if isinstance(found, str) else found)

    @property
    def names(self) -> Iterator[str]:
        """The name of each input."""
        return (found if isinstance(found, str) else found.name for found in self._found)


class _Options(NamedTuple):
    """What applies to all inputs of a call."""

    fps: float | None
    start: float | None
    stop: float | None

    def applied(self, found: Input) -> Input:
        if found.source is None:
            return found
        if found.source.kind == "video":
            part = (math.nan if self.start is None else self.start, math.nan if self.stop is None else self.stop)
            return replace(found, source=replace(found.source, start=part[0], stop=part[1]))
        return replace(found, source=replace(found.source, fps=math.nan if self.fps is None else self.fps))


def find_inputs(
    words: Sequence[str | Path],
    *,
    webcam: int | str | None = None,
    fps: float | None = None,
    start: float | None = None,
    stop: float | None = None,
) -> Inputs:
    """Return the clips that `words` refer to, in order; a folder gives every clip below it, sorted.

    Args:
        words: files, folders, `frames/%05d.jpg`, `clips/*.mp4`, `https://…`, `rtsp://…`. Successive numbered pictures
            in a folder, as a shell expands `frames/*.jpg`, form one clip of exactly these.
        webcam: number or device of a camera, as an additional input.
        fps: frames per second of numbered pictures; default 25.
        start: start of the part of a video file to use, in seconds.
        stop: end of the part, exclusive, in seconds.

    Raises:
        UsageError: there is no input, an address has an unsupported scheme, or a part ends before it starts.
    """
    if start is not None and start < 0:
        raise UsageError(f"--start must not be negative, not {start:g}")
    if stop is not None and stop <= (start or 0):
        raise UsageError(f"--stop {stop:g} is not after --start {start or 0:g}")
    inputs: list[Input | str] = []
    if webcam is not None:
        inputs.append(Input(name=f"webcam {webcam}", address=camera(webcam)))
    for series, group in groupby(map(str, words), _series):
        names = list(group)
        inputs += [_pictures(names)] if series and len(names) > 1 else [found for name in names for found in _of(name)]
    if not inputs:
        raise UsageError("nothing to predict", hint="name a video, a folder, an address or --webcam 0")
    return Inputs(inputs, _Options(fps, start, stop))


def _series(word: str) -> tuple[Path, str, str] | None:
    """Return folder, stem and suffix of a numbered picture; None for anything else."""
    path = Path(word)
    match = None if _ADDRESS.match(word) else _PICTURE.fullmatch(path.name)
    return (path.parent, match[1], match[2]) if match else None


def _of(word: str) -> Iterator[Input | str]:
    """Yield the inputs of one word."""
    path = Path(word)
    if _ADDRESS.match(word):
        yield Input(name=word, address=network_address(word))
    elif path.is_dir():
        yield from _below(path)
    elif path.exists() or path.is_symlink():
        yield _file(path)
    elif _PRINTF.fullmatch(path.name):
        yield Input(name=word, source=Source(path.parent, "frames", path.name))
    elif _GLOB.search(word):
        yield from _globbed(word)
    else:
        yield Input(name=word, error=ClipError("no such file", where=word))


def _file(path: Path) -> Input | str:
    if not path.is_file():
        what = "not a regular file" if path.exists() else "a broken link"
        return Input(name=str(path), error=ClipError(what, where=path))
    if _PICTURE.fullmatch(path.name):
        what = "a single picture, not a clip"
        return Input(name=str(path), error=ClipError(what, where=path, hint="name its folder to predict the sequence"))
    return str(path)


def _globbed(pattern: str) -> Iterator[Input | str]:
    anchor, parts = Path(pattern).anchor, Path(pattern).parts
    found = sorted(Path(anchor or ".").glob(str(Path(*parts[1:] if anchor else parts))))
    if not found:
        yield Input(name=pattern, error=ClipError("no file matches this pattern", where=pattern))
    for series, group in groupby(map(str, found), _series):
        names = list(group)
        if series and len(names) > 1:
            yield replace(_pictures(names), name=pattern)
        else:
            yield from (one for name in names for one in _of(name))


def _pictures(names: list[str]) -> Input:
    """Return the given numbered pictures of one folder as one clip, in ascending order."""
    folder = Path(names[0]).parent
    try:
        pattern, numbers = pattern_of([Path(name).name for name in names])
    except ValueError as error:
        return Input(name=names[0], error=ClipError(str(error), where=folder, hint="rename them, as in 001.jpg"))
    return Input(name=str(folder / pattern), source=Source(folder, "frames", pattern, numbers=numbers))


def _below(folder: Path) -> Iterator[Input | str]:
    """Yield every video and every folder of numbered pictures in a folder, or the folder itself if it has pictures."""
    from tdpn_core.datasets.media_index import PictureNames, picture_pattern
    from tdpn_core.datasets.scan import scan

    try:
        found = scan(folder)
        names = PictureNames(folder)
        pictures = {path: Source(folder / path, "frames", *names.of(path, "frames")) for path in found.folders}
        clips = sorted([*found.videos, *pictures])
        own = None if clips else picture_pattern((entry.name for entry in folder.iterdir()), "")
    except TdpnError as error:
        yield Input(name=str(folder), error=ClipError(error.what, where=error.where))
        return
    if own:
        yield Input(name=str(folder), source=Source(folder, "frames", *own))
        return
    for path in clips:
        name = str(folder / path)
        yield Input(name=name, source=pictures[path]) if path in pictures else name
    special = [folder / entry.rpartition(" (")[0] for entry in found.special]
    yield from map(_file, special)
    if not clips and not special:
        passed = "; ".join(found.notes()) or "it is empty"
        yield Input(name=str(folder), error=ClipError(f"no video in this folder: {passed}", where=folder))
