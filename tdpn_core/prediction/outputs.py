"""Files that a command is to write: checked before any work, so that no result is lost at the end."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tdpn_core.errors import UsageError
from tdpn_core.files import temporary_name
from tdpn_core.prediction.inputs import Input


def check_new(paths: Iterable[Path], *, option: str, force: bool) -> None:
    """Check that each file can be written, and that nothing exists in its place.

    Raises:
        UsageError: a file exists and `force` is false, a folder exists, or a folder cannot be made or written.
    """
    folders = {}
    for path in paths:
        _check_place(path, option, force)
        folders[path.parent] = path
    for path in folders.values():
        _check_folder(path, option)


def check_not_read(paths: Iterable[Path], inputs: Iterable[Input]) -> None:
    """Check that no file that is written is a clip to predict, which `--force` would replace.

    Raises:
        UsageError: one is.
    """
    clips = {found.source.path.resolve() for found in inputs if found.source is not None}
    for path in paths:
        if path.resolve() in clips:
            raise UsageError("is a clip to predict, and is not replaced", where=path, hint="name another file")


def check_distinct(paths: Iterable[Path]) -> None:
    """Check that each option has a file of its own.

    Raises:
        UsageError: two options write the same file.
    """
    for path, count in Counter(path.absolute() for path in paths).items():
        if count > 1:
            raise UsageError("is to be written by two options", where=path, hint="give each option a file of its own")


def _check_place(path: Path, option: str, force: bool) -> None:
    try:
        folder, exists = path.is_dir(), path.exists()
        temporary_name(path).exists()
    except OSError as error:  # such as a name that is too long, or a folder that cannot be entered
        raise _unwritable(path, option, error) from error
    if folder:
        raise UsageError("is a folder", where=path, hint=f"give a file with {option}")
    if exists and not force:
        raise UsageError("exists already", where=path, hint=f"add --force to replace it, or give another {option}")


def _check_folder(path: Path, option: str) -> None:
    """Write a nameless file into the folder of `path`, or where this folder would be made."""
    try:
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable(path, option, error) from error


def _unwritable(path: Path, option: str, error: OSError) -> UsageError:
    return UsageError(f"cannot be written: {error.strerror}", where=path, hint=f"choose another {option}")


def drawn_files(inputs: Sequence[Input], target: Path | None, *, option: str, force: bool) -> list[Path | None]:
    """Return the output file of each input: `target` for a single one, else `<its name>.mp4` in the folder `target`.

    Raises:
        UsageError: several inputs but one file, a live stream, an existing file, or a folder that cannot be written.
    """
    if target is None:
        return [None] * len(inputs)
    live = next((found for found in inputs if found.address is not None and found.address.kind != "file"), None)
    if live is not None:
        raise UsageError(f"{option} draws on files, not on a live stream", where=live.name)
    as_file = target.suffix.lower() == ".mp4"
    if as_file and len(inputs) > 1:
        raise UsageError(f"one file for {len(inputs)} clips", where=target, hint=f"give {option} a folder")
    if not as_file and (target.suffix or target.is_file()) and not target.is_dir():
        raise UsageError("is neither a folder nor named .mp4", where=target, hint=f"{option} writes MP4 files")
    paths = [target] if as_file else [target / f"{name}.mp4" for name in _names(inputs)]
    check_new(paths, option=option, force=force)
    return list(paths)


def _names(inputs: Sequence[Input]) -> list[str]:
    """Return a unique file name for each input, derived from its own name."""
    seen: Counter[str] = Counter()
    names = []
    for found in inputs:
        path = Path(found.name.rstrip("/"))
        stem = (path.parent.name if "%" in path.name else path.stem) or "clip"
        seen[stem] += 1
        names.append(stem if seen[stem] == 1 else f"{stem}-{seen[stem]}")
    return names
