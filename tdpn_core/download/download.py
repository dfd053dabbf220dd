"""Download a data set, archive by archive, into the layout that `tdpn prep` reads; can be interrupted and resumed.

`<root>/.download/` contains unfinished work and `record.json`: completed downloads with their digests. An archive is
unpacked once it is complete and then removed, so the disk needs space for the tree plus twice the largest archive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from tdpn_core import files
from tdpn_core.claim import claimed
from tdpn_core.datasets.remote import RemoteFile
from tdpn_core.download.archive import extract, make_plain_folder, merge
from tdpn_core.download.catalogue import listed, plan
from tdpn_core.download.http import fetch
from tdpn_core.download.members import ArchiveLimits
from tdpn_core.download.rar import require_rar
from tdpn_core.errors import Interrupted, TdpnError
from tdpn_core.fetch_limits import FetchLimits
from tdpn_core.progress import SILENT, Progress
from tdpn_core.wording import size_text

WORK = ".download"
RECORD = "record.json"
_NO_DIGESTS = "no digests are published for this data set: lengths are checked, and the MD5 if the server provides it"


@dataclass(frozen=True, kw_only=True)
class DownloadReport:
    """Result of a download."""

    dataset: str
    root: Path
    fetched_bytes: int
    """Size of the files completed by this call."""

    fetched_files: int
    """Number of archives, lists and annotation files completed by this call."""

    unpacked_files: int
    """Number of unpacked files moved into the tree by this call."""

    notes: list[str]
    """Notes on existing and changed files."""


def download(
    dataset: str,
    root: Path,
    *,
    splits: Sequence[str] | None = None,
    mirror: str | None = None,
    archive_limits: ArchiveLimits | None = None,
    limits: FetchLimits | None = None,
    progress: Progress = SILENT,
) -> DownloadReport:
    """Download into `root` what does not exist yet.

    Files that the user put there (a split's folder, an annotation file) are unchanged and not downloaded. An archive
    obtained in another way can be put at the path that an error message gives, and is then used.

    Args:
        dataset: name of one of `catalogue.downloadable`.
        root: folder for `tdpn prep --root`.
        splits: see `plan`.
        mirror: see `plan`.
        archive_limits: limits for unpacking one archive.
        limits: timeouts and retries for one file.
        progress: receives the megabytes of each file.

    Raises:
        UsageError: see `plan`; or another process is downloading into `root`.
        ToolError: a rar archive cannot be unpacked on this machine.
        TdpnError: a file cannot be downloaded, is damaged, is unsafe to unpack, or does not fit on the disk.
        Interrupted: Ctrl-C was pressed; the next call continues.
    """
    remotes = plan(dataset, splits=splits, mirror=mirror)
    if any(remote.name.endswith(".rar") and not _is_there(root, remote) for remote in remotes):
        require_rar()
    work = root / WORK
    with claimed(work, "downloading", hint="wait for it, or choose another --root", option="--root"):
        files.sweep(work)
        run = _Run(root, work, _read_record(work / RECORD), archive_limits, limits, progress)
        progress.say(_NO_DIGESTS)
        try:
            for remote in remotes:
                run.take(remote)
        except KeyboardInterrupt as error:
            hint = "run the same command again to continue"
            raise Interrupted("the download was stopped", where=root, hint=hint) from error
        except OSError as error:
            raise TdpnError(f"cannot be written: {error.strerror or error}", where=error.filename or root) from error
    return DownloadReport(
        dataset=dataset,
        root=root,
        fetched_bytes=run.fetched_bytes,
        fetched_files=run.fetched_files,
        unpacked_files=run.unpacked_files,
        notes=run.notes,
    )


@dataclass
class _Entry:
    """A downloaded file."""

    size: int
    sha256: str
    done: bool = False
    """Whether it is in its place, or unpacked."""


@dataclass
class _Record:
    """Completed work, always up to date on disk."""

    fetched: dict[str, _Entry] = field(default_factory=dict)
    """Entries by address."""

    claimed: list[str] = field(default_factory=list)
    """Paths below the root that we may write; anything else was put there by the user."""


def _read_record(path: Path) -> _Record:
    try:
        return TypeAdapter(_Record).validate_json(path.read_bytes()) if path.exists() else _Record()
    except (OSError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        hint = "remove it; files downloaded so far then count as the user's own"
        raise TdpnError(f"cannot be read: {reason}", where=path, hint=hint) from error


@dataclass
class _Run:
    """One call of `download`."""

    root: Path
    work: Path
    record: _Record
    archive_limits: ArchiveLimits | None
    limits: FetchLimits | None
    progress: Progress
    fetched_bytes: int = 0
    fetched_files: int = 0
    unpacked_files: int = 0
    notes: list[str] = field(default_factory=list)

    def take(self, remote: RemoteFile) -> None:
        """Bring one file of the plan into the tree."""
        if remote.provides not in self.record.claimed:
            if _is_there(self.root, remote):
                self._note(f"{remote.provides} exists already and is unchanged")
                return
            self.record.claimed.append(remote.provides)
            self._save()
        if remote.kind == "index":
            self._take_index(remote)
        elif remote.kind == "archive":
            self._take_archive(remote)
        elif not self._is_done(remote):
            self._take_file(remote)

    def _take_index(self, index: RemoteFile) -> None:
        path = self.work / "lists" / index.name
        if not path.exists():
            self._fetch(index, path)
        archives = listed(index, path.read_text(errors="replace"), str(path))
        missing = sum(not self._is_done(archive) for archive in archives)
        self.progress.say(f"{index.split}: {missing} of {len(archives)} archives to download")
        for archive in archives:
            self._take_archive(archive)

    def _take_file(self, remote: RemoteFile) -> None:
        target = self.root / remote.target
        path = self.work / "files" / remote.name
        entry = self._fetch(remote, path)
        make_plain_folder(target.parent)
        path.replace(target)
        self._finish(entry)

    def _take_archive(self, remote: RemoteFile) -> None:
        """Download, unpack to a temporary folder, move into the tree, record, clean up; each step can be repeated."""
        place = Path(remote.split or ".") / remote.name
        archive, unpacked = self.work / "archives" / place, self.work / "unpacked" / place
        if not self._is_done(remote):
            entry = self._fetch(remote, archive)
            self._unpack(archive, unpacked, self.root / remote.target, nested=remote.nested)
            self._finish(entry)
        archive.unlink(missing_ok=True)

    def _unpack(self, archive: Path, unpacked: Path, target: Path, *, nested: bool) -> None:
        found = extract(archive, unpacked, limits=self.archive_limits, progress=self.progress)
        for inner in (path for path in found if nested and path.suffix == ".rar"):
            self._unpack(inner, unpacked.with_name(f"{unpacked.name}-{inner.stem}"), target, nested=False)
            inner.unlink()
        self.unpacked_files += merge(unpacked, target)

    def _is_done(self, remote: RemoteFile) -> bool:
        entry = self.record.fetched.get(remote.url)
        return entry is not None and entry.done and (self.root / remote.provides).exists()

    def _fetch(self, remote: RemoteFile, path: Path) -> _Entry:
        """Download a file and record its digest; add a note if it has changed since the last time."""
        if not path.exists():
            self.fetched_files += 1
            self.fetched_bytes += (
                fetch(remote.url, path, etag_is_md5=remote.etag_is_md5, limits=self.limits, progress=self.progress)
                .stat()
                .st_size
            )
        entry = _Entry(path.stat().st_size, files.digest_file(path))
        before = self.record.fetched.get(remote.url, entry)
        if before.sha256 != entry.sha256:
            self._note(
                f"{remote.name} has changed since it was first downloaded: {size_text(before.size)}, sha256 "
                f"{before.sha256}, is now {size_text(entry.size)}, {entry.sha256}"
            )
        self.record.fetched[remote.url] = entry
        self._save()
        return entry

    def _finish(self, entry: _Entry) -> None:
        entry.done = True
        self._save()

    def _save(self) -> None:
        files.write_bytes(self.work / RECORD, TypeAdapter(_Record).dump_json(self.record, indent=2))

    def _note(self, line: str) -> None:
        self.notes.append(line)
        self.progress.say(line)


def _is_there(root: Path, remote: RemoteFile) -> bool:
    """Return whether the target exists: a file, or a folder that is not empty."""
    place = root / remote.provides
    return any(place.iterdir()) if place.is_dir() else place.exists()
