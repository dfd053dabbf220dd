"""Storage for a prepared data set: a folder, or any fsspec address (`s3://…`, `gs://…`, `hdfs://…`).

Files appear atomically under their names, and nothing is locked or appended to; preparation relies only on this.
"""

from __future__ import annotations

import posixpath
import tempfile
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from tdpn_core import files
from tdpn_core.errors import TdpnError, UsageError


class Place(Protocol):
    """A folder of files, addressed by relative names."""

    @property
    def url(self) -> str:
        """Address from which `open_place` opens the same place in any process."""

    @property
    def folder(self) -> Path | None:
        """The folder, if it is on a file system of this machine."""

    def save(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write a file from these pieces, atomically.

        Raises:
            TdpnError: it cannot be written.
        """

    def load(self, name: str) -> bytes | None:
        """Return the content of a file; None if it does not exist."""

    def sizes(self, folder: str, suffix: str) -> dict[str, int]:
        """Return names and sizes of the files with `suffix` directly in a folder ("" for the place itself)."""

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""


def open_place(url: str | Path) -> Place:
    """Open the place at a path or an fsspec address.

    Raises:
        UsageError: the protocol is unknown, or its package is not installed.
    """
    text = str(url)
    return RemotePlace(text) if "://" in text else LocalPlace(Path(url))


class LocalPlace:
    """A folder on a local or shared file system."""

    def __init__(self, folder: Path) -> None:
        self.folder: Path | None = folder
        self._folder = folder

    @property
    def url(self) -> str:
        """Its path."""
        return str(self._folder.absolute())

    def save(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write atomically."""
        with files.atomic_path(self._folder / name) as temporary, temporary.open("wb") as out:
            for piece in pieces:
                out.write(piece)

    def load(self, name: str) -> bytes | None:
        """Read a file."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TdpnError(f"cannot be read: {error.strerror}", where=self._folder / name) from error

    def sizes(self, folder: str, suffix: str) -> dict[str, int]:
        """List a folder."""
        return {path.name: path.stat().st_size for path in sorted((self._folder / folder).glob(f"[!.]*{suffix}"))}

    def remove(self, name: str) -> None:
        """Remove a file."""
        (self._folder / name).unlink(missing_ok=True)


class RemotePlace:
    """A folder at an fsspec address."""

    folder: Path | None = None

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url
        try:
            self._system: Any
            self._system, self._root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise UsageError(f"cannot be opened: {error}", where=url) from error

    def save(self, name: str, pieces: Iterable[bytes]) -> None:
        """Collect the file locally, upload it under another name, and rename it there."""
        target = posixpath.join(self._root, name)
        temporary = f"{target}{files.TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}"
        try:
            with tempfile.NamedTemporaryFile() as local:
                for piece in pieces:
                    local.write(piece)
                local.flush()
                self._system.makedirs(posixpath.dirname(target), exist_ok=True)
                self._system.put_file(local.name, temporary)
            self._system.mv(temporary, target)
        except TdpnError:
            raise
        except Exception as error:  # exceptions depend on the protocol
            raise TdpnError(f"cannot write: {error}", where=f"{self.url}/{name}") from error

    def load(self, name: str) -> bytes | None:
        """Fetch a file."""
        try:
            content: bytes = self._system.cat_file(posixpath.join(self._root, name))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise TdpnError(f"cannot be read: {error}", where=f"{self.url}/{name}") from error
        return content

    def sizes(self, folder: str, suffix: str) -> dict[str, int]:
        """List a folder."""
        try:
            entries = self._system.ls(posixpath.join(self._root, folder), detail=True)
        except FileNotFoundError:
            return {}
        except Exception as error:
            raise TdpnError(f"cannot be listed: {error}", where=self.url) from error
        named = {posixpath.basename(entry["name"]): entry for entry in entries if entry["type"] == "file"}
        return {name: named[name]["size"] for name in sorted(named) if name.endswith(suffix)}

    def remove(self, name: str) -> None:
        """Remove a file."""
        try:
            self._system.rm_file(posixpath.join(self._root, name))
        except FileNotFoundError:
            pass
        except Exception as error:
            raise TdpnError(f"cannot be removed: {error}", where=f"{self.url}/{name}") from error
