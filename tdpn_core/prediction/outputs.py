"""Files that a command is to write: checked before any work, so that no result is lost at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tdpn_core.errors import UsageError
from tdpn_core.output_paths import check_new
from tdpn_core.video.inputs import Input


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
