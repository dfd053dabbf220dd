"""Where a data set can be downloaded from: the owner's files, or the owner's instructions for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One file of a data set's owner, and what becomes of it."""

    url: str
    kind: Literal["file", "archive", "index"]
    """`index` is a text file of the addresses of archives, one a line."""

    target: str
    """Below the root: the file itself, or the folder that the archive, or each archive of the index, is unpacked in."""

    provides: str
    """Below the root: what is there once it was downloaded."""

    split: str | None = None

    base: str = ""
    """Of an index: the address that its lines begin with, and `url` too unless a mirror is used."""

    class_folders: bool = False
    """Of an index: each archive holds a class, and is unpacked in a folder of the archive's name."""

    nested: bool = False
    """The archive holds archives, which are unpacked in turn."""

    etag_is_md5: bool = False

    @property
    def name(self) -> str:
        """The file's name."""
        return unquote(PurePosixPath(urlsplit(self.url).path).name)


@dataclass(frozen=True, kw_only=True)
class Download:
    """A data set that its owner lets programs download."""

    address: str
    """Of the owner's tree; a mirror's takes its place."""

    files: Callable[[str, Sequence[str]], list[RemoteFile]]
    """The files in order, small ones first, from the address (of the owner or a mirror) and the wanted splits."""

    splits: tuple[str, ...] = ()
    """Those that can be downloaded alone; none: the data set has one part."""

    usual_splits: tuple[str, ...] = ()
    """Those that are downloaded unless others are asked for."""


@dataclass(frozen=True)
class ByHand:
    """A data set that only people can download."""

    where: str
    """Page or program of the owner, with what the owner asks for."""

    layout: str
    """How its files must be laid out below the root."""
