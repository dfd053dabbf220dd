"""Class names in a file, and the rows of a classifier that they map to."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tdpn_core.datasets.registry import DATASETS
from tdpn_core.shards.manifest import Manifest


@dataclasses.dataclass(frozen=True)
class Match:
    """Rows of one classifier that are copied from another, matched by class name."""

    ours: tuple[int, ...]
    """Rows to fill."""

    theirs: tuple[int, ...]
    """Source row for each of `ours`."""

    total: int
    """Rows of our classifier."""

    def describe(self, head: str) -> str:
        """Return one line for the report."""
        new = self.total - len(self.ours)
        rest = f", {new} start untrained" if new else ", in another order" if self.ours != self.theirs else ""
        return f"{head}: {len(self.ours)} of {self.total} classes matched by name{rest}"


def match_classes(theirs: Sequence[str], ours: Sequence[str]) -> Match:
    """Match classes by name: exactly first, then ignoring case, underscores and hyphens.

    A name that occurs more than once on one side is not matched.
    """
    pairs = _common(dict(enumerate(theirs)), dict(enumerate(ours)))
    matched_theirs, matched_ours = set(pairs.values()), set(pairs)
    pairs |= _common(
        {row: _spelling(name) for row, name in enumerate(theirs) if row not in matched_theirs},
        {row: _spelling(name) for row, name in enumerate(ours) if row not in matched_ours},
    )
    rows = sorted(pairs)
    return Match(tuple(rows), tuple(pairs[row] for row in rows), len(ours))


def _common(theirs: Mapping[int, str], ours: Mapping[int, str]) -> dict[int, int]:
    """Return our rows to theirs with the same text, where it occurs once on each side."""
    counts = (Counter(theirs.values()), Counter(ours.values()))
    place = {name: row for row, name in theirs.items()}
    return {row: place[name] for row, name in ours.items() if all(count[name] == 1 for count in counts)}


def _spelling(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFC", name)).strip().casefold()


def own_names(meta: Mapping[str, Any]) -> list[str]:
    """Return the class names that OpenMMLab's programs store in a file."""
    inner = meta.get("meta", {})
    inner = inner if isinstance(inner, Mapping) else {}
    nested = inner.get("dataset_meta", {})
    found = inner.get("CLASSES") or (nested.get("classes") if isinstance(nested, Mapping) else None) or []
    return [str(name) for name in found] if isinstance(found, (list, tuple)) else []


def usual_names(manifest: Manifest, head: str, count: int) -> list[str] | None:
    """Return the class names of prepared data if there are `count`, in the order that all projects use."""
    found = manifest.classes.get(head, [])
    spec = DATASETS.get(manifest.dataset)
    usual = spec is not None and len(found) == count and spec.foreign_order == manifest.label_order
    return found if usual else None
