"""Sources for downloading a data set: the owner's files, or the owner's instructions for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One file of a data set's owner, and how it is stored."""

    url: str
    kind: Literal["file", "archive", "index"]
    """`index` is a text file with addresses of archives, one per line."""

    target: str
    """Path below the root: the file, or the folder into which the archive (each one of the index) is unpacked."""

    provides: str
    """Path below the root that exists after the download."""

    split: str | None = None

    base: str = ""
    """For an index: the address that its lines begin with, and also `url` unless a mirror is used."""

    class_folders: bool = False
    """For an index: each archive contains a class, and is unpacked in a folder of the archive's name."""

    nested: bool = False
    """Whether the archive contains archives, which are also unpacked."""

    etag_is_md5: bool = False

    @property
    def name(self) -> str:
        """The file's name."""
        return unquote(PurePosixPath(urlsplit(self.url).path).name)


@dataclass(frozen=True, kw_only=True)
class Download:
    """A data set that its owner lets programs download."""

    address: str
    """Address of the owner's tree; replaced by a mirror's."""

    files: Callable[[str, Sequence[str]], list[RemoteFile]]
    """Returns the files in order, small ones first, for the address (of the owner or a mirror) and the splits."""

    splits: tuple[str, ...] = ()
    """Splits that can be downloaded separately; empty if the data set has one part."""

    usual_splits: tuple[str, ...] = ()
    """Splits downloaded by default."""


@dataclass(frozen=True)
class ByHand:
    """A data set that only people can download."""

    where: str
    """Page or program of the owner, and the owner's requirements."""

    layout: str
    """Required layout of its files below the root."""
