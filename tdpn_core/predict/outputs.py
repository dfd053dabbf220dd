"""Where drawn videos go, decided before anything is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tdpn_core.errors import UsageError
from tdpn_core.predict.inputs import Input


def new_file(path: Path, *, option: str, force: bool) -> Path:
    """`path`, unless something is there already.

    Raises:
        UsageError: a file is there and `force` is false, or a folder is.
    """
    if path.is_dir():
        raise UsageError("is a folder", where=path, hint=f"name a file with {option}")
    if path.exists() and not force:
        raise UsageError("exists already", where=path, hint=f"add --force to replace it, or give another {option}")
    return path


def drawn_files(inputs: Sequence[Input], target: Path | None, *, option: str, force: bool) -> list[Path | None]:
    """The file for each input: `target` for a single one, else `<its name>.mp4` in the folder `target`.

    Raises:
        UsageError: several inputs and one file, a live stream, or a file that is there already.
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
    return [new_file(path, option=option, force=force) for path in paths]


def _names(inputs: Sequence[Input]) -> list[str]:
    """A name for each input, made of its own and different from all others."""
    seen: Counter[str] = Counter()
    names = []
    for found in inputs:
        path = Path(found.name.rstrip("/"))
        stem = (path.parent.name if "%" in path.name else path.stem) or "clip"
        seen[stem] += 1
        names.append(stem if seen[stem] == 1 else f"{stem}-{seen[stem]}")
    return names
