"""Fetch a data set, archive by archive, into the tree that `tdpn prep` reads; stop and go on anywhere.

`<root>/.download/` holds what is under way, and `record.json`: what was fetched, with the digests found. An archive is
unpacked as soon as it is there and then removed, so that the disk needs room for the tree and one archive twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tdpn_core import files
from tdpn_core.claim import claimed
from tdpn_core.download.archive import ArchiveLimits, extract, merge, plain_folder
from tdpn_core.download.catalogue import RemoteFile, listed, plan
from tdpn_core.download.http import Fetched, Patience, fetch, in_gigabytes
from tdpn_core.download.rar import require_rar
from tdpn_core.errors import Interrupted, TdpnError
from tdpn_core.progress import SILENT, Progress

WORK = ".download"
RECORD = "record.json"
_NO_DIGESTS = "no digests are published for this data set: lengths are checked, and the MD5 where the server states it"


@dataclass(frozen=True, kw_only=True)
class DownloadReport:
    """What a download did."""

    dataset: str
    root: Path
    fetched_bytes: int
    """That came over the network now."""

    fetched_files: int
    """Archives, lists and annotation files that were completed now."""

    unpacked_files: int
    """Files of archives that were moved into the tree now."""

    notes: list[str]
    """What was there already, or has changed."""


def download(
    dataset: str,
    root: Path,
    *,
    splits: Sequence[str] | None = None,
    mirror: str | None = None,
    keep_archives: bool = False,
    limits: ArchiveLimits | None = None,
    patience: Patience | None = None,
    progress: Progress = SILENT,
) -> DownloadReport:
    """Download into `root` what is not there yet.

    What was put there by hand (a split's folder, an annotation file) is left as it is and not downloaded again. An
    archive that was got in another way can be put where a failure says, and is then taken.

    Args:
        dataset: one of `sources.DOWNLOADABLE`.
        root: the folder that `tdpn prep --root` reads.
        splits: see `plan`.
        mirror: see `plan`.
        keep_archives: leave the archives in `<root>/.download/archives`.
        limits: of one archive.
        patience: with the server.
        progress: told of each file.

    Raises:
        UsageError: see `plan`; or another process is downloading into `root`.
        ToolError: a rar archive could not be unpacked here.
        TdpnError: a file cannot be had, is damaged, is unsafe to unpack, or does not fit the disk.
        Interrupted: Ctrl-C; the next call goes on.
    """
    remotes = plan(dataset, splits=splits, mirror=mirror)
    if any(remote.name.endswith(".rar") and not _is_own(root, remote) for remote in remotes):
        require_rar()
    work = root / WORK
    with _alone(work):
        run = _Run(root, work, _Record.load(work / RECORD), keep_archives, limits, patience, progress)
        progress.say(_NO_DIGESTS)
        try:
            for remote in remotes:
                run.take(remote)
        except KeyboardInterrupt as error:
            hint = "run the same command again to go on"
            raise Interrupted("the download was stopped", where=root, hint=hint) from error
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
    """A file that was fetched."""

    size: int
    sha256: str
    done: bool = False
    """It is in its place, or unpacked."""

    kept: bool = False
    """The archive was to stay."""


@dataclass
class _Record:
    """What was done, on the disk at every moment."""

    path: Path
    fetched: dict[str, _Entry] = field(default_factory=dict)
    """By address."""

    claimed: list[str] = field(default_factory=list)
    """What below the root is ours to write; anything else was put there by hand."""

    @classmethod
    def load(cls, path: Path) -> _Record:
        if not path.exists():
            return cls(path)
        try:
            content = json.loads(path.read_text())
            fetched = {url: _Entry(**entry) for url, entry in content["fetched"].items()}
            return cls(path, fetched, list(content["claimed"]))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            hint = "remove it, and what was downloaded so far will be taken as put there by hand"
            raise TdpnError(f"cannot be read: {error}", where=path, hint=hint) from error

    def save(self) -> None:
        content: dict[str, Any] = {
            "claimed": self.claimed,
            "fetched": {url: asdict(entry) for url, entry in self.fetched.items()},
        }
        files.write_json(self.path, content)


@dataclass
class _Run:
    """One call of `download`."""

    root: Path
    work: Path
    record: _Record
    keep_archives: bool
    limits: ArchiveLimits | None
    patience: Patience | None
    progress: Progress
    fetched_bytes: int = 0
    fetched_files: int = 0
    unpacked_files: int = 0
    notes: list[str] = field(default_factory=list)

    def take(self, remote: RemoteFile) -> None:
        """Bring one file of the plan into the tree."""
        if remote.provides not in self.record.claimed:
            if _is_own(self.root, remote):
                self._note(f"{remote.provides} was there already and is left as it is")
                return
            self.record.claimed.append(remote.provides)
            self.record.save()
        if remote.kind == "index":
            self._take_index(remote)
        elif remote.kind == "archive":
            self._take_archive(remote)
        else:
            self._take_file(remote)

    def _take_index(self, index: RemoteFile) -> None:
        path = self.work / "lists" / index.name
        if not path.exists():
            self._fetch(index, path)
        archives = listed(index, path.read_text(errors="replace"), str(path))
        left = sum(not self._is_done(archive) for archive in archives)
        self.progress.say(f"{index.split}: {left} of {len(archives)} archives to download")
        for archive in archives:
            self._take_archive(archive)

    def _take_file(self, remote: RemoteFile) -> None:
        if self._is_done(remote):
            return
        target = self.root / remote.target
        path = self.work / "files" / remote.name
        entry = self._fetch(remote, path)
        plain_folder(target.parent)
        path.replace(target)
        self._finish(entry)

    def _take_archive(self, remote: RemoteFile) -> None:
        """Fetch, unpack aside, move into the tree, note it, clear up; each step can be repeated."""
        place = Path(remote.split or ".") / remote.name
        archive, unpacked = self.work / "archives" / place, self.work / "unpacked" / place
        if not self._is_done(remote):
            entry = self._fetch(remote, archive)
            try:
                extract(archive, unpacked, limits=self.limits, progress=self.progress)
            except TdpnError:
                entry.sha256 = ""  # another copy may be put in its place
                self.record.save()
                raise
            target = self.root / remote.target
            for inner in sorted(unpacked.glob("*.rar")) if remote.nested else ():
                aside = unpacked.with_name(f"{unpacked.name}-{inner.stem}")
                extract(inner, aside, limits=self.limits, progress=self.progress)
                self.unpacked_files += merge(aside, target)
                inner.unlink()
            self.unpacked_files += merge(unpacked, target)
            entry.kept = self.keep_archives
            self._finish(entry)
        if not self.record.fetched[remote.url].kept:
            archive.unlink(missing_ok=True)

    def _is_done(self, remote: RemoteFile) -> bool:
        entry = self.record.fetched.get(remote.url)
        return entry is not None and entry.done and (self.root / remote.provides).exists()

    def _fetch(self, remote: RemoteFile, path: Path) -> _Entry:
        """Fetch, and note what was found; say so if it is not what was found last time."""
        before = self.record.fetched.get(remote.url)
        had = path.exists()
        got = fetch(
            remote.url,
            path,
            sha256=before.sha256 or None if before and had else None,
            etag_is_md5=remote.etag_is_md5,
            patience=self.patience,
            progress=self.progress,
        )
        self._count(got)
        if before and before.sha256 not in ("", got.sha256):
            self._note(
                f"{remote.name} has changed since it was first downloaded: {in_gigabytes(before.size)}, sha256 "
                f"{before.sha256}, is now {in_gigabytes(got.size)}, {got.sha256}"
            )
        entry = self.record.fetched[remote.url] = _Entry(got.size, got.sha256)
        self.record.save()
        return entry

    def _finish(self, entry: _Entry) -> None:
        entry.done = True
        self.record.save()

    def _count(self, got: Fetched) -> None:
        self.fetched_bytes += got.size - got.reused
        self.fetched_files += got.reused < got.size

    def _note(self, line: str) -> None:
        self.notes.append(line)
        self.progress.say(line)


def _is_own(root: Path, remote: RemoteFile) -> bool:
    """Something is where the file would go: a file, or a folder that is not empty."""
    place = root / remote.provides
    return any(place.iterdir()) if place.is_dir() else place.exists()


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Keep a second download out."""
    with claimed(work, "downloading", hint="wait for it, or choose another --root", option="--root"):
        files.sweep(work)
        yield
