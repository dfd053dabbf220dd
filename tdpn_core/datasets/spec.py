"""Everything specific to a data set: one entry for reading, detection, training, evaluation and foreign weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tdpn_core.datasets.clip_table import Dataset
from tdpn_core.datasets.options import DatasetOptions
from tdpn_core.datasets.remote import ByHand, Download
from tdpn_core.datasets.scan import Found
from tdpn_core.plugins import plain

Reader = Callable[[Found, list[Path], DatasetOptions], Dataset]
"""Builds the table of clips from the content of the root, files that may be annotations, and the user's options.

It opens no video, and raises `DatasetError` if the files do not belong to the data set or have errors.
"""

Detector = Callable[[Found, list[Path], DatasetOptions], str | None]
"""With the same arguments: returns the evidence as text (`labels.csv is here`); None for other data sets."""


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A data set, or a layout such as class folders."""

    name: str
    """Name on the command line, in prepared data and in checkpoints."""

    title: str
    """Name in text: `Kinetics-400`."""

    read: Reader
    detect: Detector
    aliases: tuple[str, ...] = ()
    """Other accepted names; case, `-`, `_` and spaces are ignored."""

    recipe: str = "finetune"
    """Default recipe for training."""

    num_classes: Mapping[str, int] = field(default_factory=dict)
    """Number of classes of the complete data set by head; empty for a layout with any number of classes."""

    published_as: str | None = None
    """Name in tables of published results, if it differs from the title."""

    foreign_order: str | None = None
    """Class order in all other projects' checkpoints (`Dataset.label_order`); None if unknown."""

    has_subset_lists: bool = False
    """Whether EPIC-KITCHENS-100's lists of unseen participants and tail classes exist (`tdpn eval --annotations`)."""

    download: Download | ByHand | None = None
    """Source for `--download`, or instructions for a data set that only people can download."""

    conflicts: tuple[str, ...] = ()
    """Data sets with similar annotations but other class numbers, which must not be mixed with this one."""

    def is_called(self, name: str) -> bool:
        """Return whether `name` is the name or one of the aliases."""
        return plain(name) in {plain(own) for own in (self.name, *self.aliases)}
