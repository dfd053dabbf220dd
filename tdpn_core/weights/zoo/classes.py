"""Class names of public data sets, in the order in which published checkpoints number them."""

from __future__ import annotations

from functools import cache
from importlib import resources

from tdpn_core.weights.zoo.entry import ZooEntry


def class_names(entry: ZooEntry) -> list[str]:
    """The names of an entry's classes; empty where they are not known here."""
    return list(_listed(entry.class_list)) if entry.class_list else []


@cache
def _listed(name: str) -> tuple[str, ...]:
    """One name a line: Kinetics sorted by name, the others in the order of their owners' files of labels."""
    folder = resources.files("tdpn_core.weights.zoo") / "class_lists"
    return tuple((folder / f"{name}.txt").read_text(encoding="utf-8").splitlines())
