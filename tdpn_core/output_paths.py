"""Check the files that a command is to write before any work, so that no result is lost at the end."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from tdpn_core.errors import UsageError
from tdpn_core.files import temporary_name


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
