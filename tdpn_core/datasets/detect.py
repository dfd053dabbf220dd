"""Detect a data set by its files, with the evidence."""

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
    """A data set that the files may belong to."""

    name: str
    evidence: str
    """Evidence for it, as text."""


@dataclass(frozen=True)
class Detection:
    """The detected data set."""

    name: str
    evidence: str
    others: tuple[Candidate, ...] = ()
    """Alternatives, the most likely first."""

    def sentence(self) -> str:
        """Describe the result, the evidence and how to override it."""
        override = ", ".join(dict.fromkeys(other.name for other in self.others)) or "for example list"
        return f"read as {self.name}: {self.evidence}; to read it as another data set, give its name ({override})"


def recognise(specs: Iterable[DatasetSpec], found: Found, texts: list[Path], options: DatasetOptions) -> Detection:
    """Return the first data set with evidence in the files.

    Raises:
        DatasetError: there is none, or two that must not be mixed.
    """
    evidence = ((spec, spec.detect(found, texts, options)) for spec in specs)
    candidates = [(spec, words) for spec, words in evidence if words is not None]
    if not candidates:
        flat = sum("/" not in video for video in found.videos)
        loose = [f"{flat} videos are directly in it, but folder needs a folder per class"] if flat else []
        hint = "; ".join(["give the name of the data set, or its annotation files", *loose, *found.notes()])
        raise DatasetError("no known data set was detected", where=found.root, hint=hint)
    (first, words), *others = candidates
    for other, _ in others:
        if other.name in first.conflicts or first.name in other.conflicts:
            both = f"the annotations of both {first.title} and {other.title} are here"
            what = f"{both}, and they number classes differently"
            raise DatasetError(what, where=found.root, hint=f"give the name {first.name} or {other.name}")
    return Detection(first.name, words, tuple(Candidate(other.name, words) for other, words in others))
