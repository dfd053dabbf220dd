"""Supported annotation formats, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tdpn_core.datasets.annotations import activitynet, charades, cvat, elan, label_studio, table, via
from tdpn_core.datasets.annotations.segment import Annotations
from tdpn_core.errors import DatasetError


@dataclass(frozen=True)
class Format:
    """An annotation format."""

    title: str
    suffixes: tuple[str, ...]
    matches: Callable[[Path], bool]
    """Whether the content of a file is in this format."""

    read: Callable[[Path], Annotations]
    """Reads such a file.

    Raises:
        DatasetError: the file is malformed.
    """


TABLE = Format("lists with start and end columns", table.SUFFIXES, table.matches, table.read)
FORMATS = (
    Format("ELAN", (".eaf",), elan.matches, elan.read),
    Format("CVAT", (".xml",), cvat.matches, cvat.read),
    Format("ActivityNet", (".json",), activitynet.matches, activitynet.read),
    Format("VIA", (".json", ".csv"), via.matches, via.read),
    Format("Label Studio", (".json",), label_studio.matches, label_studio.read),
    Format("Charades", (".csv",), charades.matches, charades.read),
    TABLE,
)


def format_of(path: Path) -> Format | None:
    """Return the format of a file; None if it has none of them.

    Raises:
        DatasetError: it cannot be read, for example malformed JSON.
    """
    ending = path.suffix.lower()
    unreadable: DatasetError | None = None
    for one in FORMATS:
        if ending in one.suffixes:
            try:
                if one.matches(path):
                    return one
            except DatasetError as error:
                unreadable = error
    if unreadable:
        raise unreadable
    return None
