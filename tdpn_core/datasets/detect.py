"""Detect a data set by its files, and give the evidence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tdpn_core.datasets.options import DatasetOptions
from tdpn_core.datasets.scan import Found
from tdpn_core.datasets.spec import DatasetSpec
from tdpn_core.errors import DatasetError


@dataclass(frozen=True)
class Candidate:
    """A data set that the files could be."""

    name: str
    evidence: str
    """What speaks for it, in words."""


@dataclass(frozen=True)
class Detection:
    """Which data set the files are taken for."""

    name: str
    evidence: str
    others: tuple[Candidate, ...] = ()
    """What they could be read as besides, the likeliest first."""

    def sentence(self) -> str:
        """The verdict, the evidence and how to override it."""
        override = ", ".join(dict.fromkeys(other.name for other in self.others)) or "list, for one"
        return f"taken for {self.name}: {self.evidence}; to read it as another, name that one ({override})"


def recognise(specs: Iterable[DatasetSpec], found: Found, texts: list[Path], options: DatasetOptions) -> Detection:
    """The first of the data sets that the files speak for.

    Raises:
        DatasetError: none, or two that must not be mixed.
    """
    evidence = ((spec, spec.detect(found, texts, options)) for spec in specs)
    candidates = [(spec, words) for spec, words in evidence if words is not None]
    if not candidates:
        flat = sum("/" not in video for video in found.videos)
        loose = [f"{flat} videos lie directly in it, and folder wants a folder for each class"] if flat else []
        hint = "; ".join(["name the data set, or its annotation files", *loose, *found.notes()])
        raise DatasetError("is no data set that is known by its files", where=found.root, hint=hint)
    (first, words), *others = candidates
    for other, _ in others:
        if other.name in first.conflicts or first.name in other.conflicts:
            both = f"the annotations of both {first.title} and {other.title} are here"
            what = f"{both}, and their classes have other numbers"
            raise DatasetError(what, where=found.root, hint=f"name {first.name} or {other.name}")
    return Detection(first.name, words, tuple(Candidate(other.name, words) for other, words in others))
