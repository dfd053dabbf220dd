"""Tables of named parts, to which other packages can add with entry points of the table's group."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TypeVar, cast

from tdpn_core.errors import PluginError, UsageError

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """Parts of one kind by name: the package's own first, then those of other packages. Parts are imported on access.

    Names are compared exactly by `in` and `[]`, and ignoring case, `-`, `_` and spaces by `named`.
    """

    def __init__(self, kind: str, group: str, own: Mapping[str, str], is_valid: Callable[[object], bool]) -> None:
        """Create a table.

        Args:
            kind: kind of parts, for messages: `data set`.
            group: group of entry points for this table.
            own: `module:ATTRIBUTE` of the package's own parts by name.
            is_valid: returns whether a loaded object is such a part.
        """
        self.kind = kind
        self.group = group
        self.own = dict(own)
        self._is_valid = is_valid

    def plugins(self) -> dict[str, EntryPoint]:
        """Return the entry points of other packages by name.

        Raises:
            PluginError: two packages register one name, or a package registers one of our names.
        """
        found: dict[str, EntryPoint] = {}
        for point in _entry_points(self.group, _installed()):
            if point.name in self.own or found.get(point.name, point).value != point.value:
                other = "tdpn" if point.name in self.own else _package(found[point.name])
                what = f"{other} and {_package(point)} both define the {self.kind} {point.name!r}"
                raise PluginError(what, hint=f"uninstall or rename one of them (entry points of {self.group})")
            found[point.name] = point
        return found

    def named(self, name: str) -> str | None:
        """Return the name in the table that `name` refers to; None if there is none."""
        if name in self.own:
            return name
        return next((known for known in self if plain(known) == plain(name)), None)

    def unknown(self, name: str, *, where: str | None = None, also: tuple[str, ...] = ()) -> UsageError:
        """Return the error for an unknown name, with the most similar and all known names; `also` are accepted, too."""
        known = [*self, *also]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
        hint = f"did you mean {near[0]}? " if near else ""
        return UsageError(f"no {self.kind} {name!r}", where=where, hint=f"{hint}available: {', '.join(known)}")

    def __iter__(self) -> Iterator[str]:
        yield from self.own
        yield from self.plugins()

    def __len__(self) -> int:
        return len(self.own) + len(self.plugins())

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in self.plugins()

    def __getitem__(self, name: str) -> T:
        """Return the part of that name.

        Raises:
            KeyError: there is none.
            PluginError: another package's part cannot be imported, or is of another kind.
        """
        if name in self.own:
            return cast(T, EntryPoint(name, self.own[name], self.group).load())
        point = self.plugins()[name]
        where = f"{self.kind} {name!r} of {_package(point)}"
        try:
            part = point.load()
        except Exception as error:  # importing another package can fail in any way
            what = f"cannot be loaded from {point.value}: {type(error).__name__}: {error}"
            raise PluginError(what, where=where, hint="repair or uninstall that package") from error
        if not self._is_valid(part):
            raise PluginError(f"{point.value} is not a {self.kind} but {type(part).__name__}", where=where)
        return cast(T, part)


def plain(name: str) -> str:
    """Return the form in which names are compared: `EPIC-100` and `epic100` are equal."""
    return re.sub(r"[\s_-]", "", name).lower()


def _installed() -> tuple[tuple[str, int | None], ...]:
    """Return the folders of installed packages, and when a package was last added or removed there."""
    return tuple((folder, _changed(folder)) for folder in sys.path)


def _changed(folder: str) -> int | None:
    try:
        return Path(folder).stat().st_mtime_ns  # of "": the working folder
    except OSError:
        return None


@cache
def _entry_points(group: str, installed: tuple[tuple[str, int | None], ...]) -> tuple[EntryPoint, ...]:
    """Return the entry points of a group; a search reads a file of every installed package."""
    return tuple(entry_points(group=group))


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "another package"
