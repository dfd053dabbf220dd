"""What is known of a data set: one entry that reading, detection, training, evaluation and foreign weights share."""

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
"""Makes the table of clips from what lies under the root, the files that may be annotations, and the user's choices.

It opens no video, and raises `DatasetError` where the files are not those of the data set or are faulty.
"""

Detector = Callable[[Found, list[Path], DatasetOptions], str | None]
"""From the same: what speaks for the data set, in words (`labels.csv is here`); None if the files are of another."""


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A data set, or a layout such as class folders."""

    name: str
    """As the command line, a prepared data set and a checkpoint have it."""

    title: str
    """As people write it: `Kinetics-400`."""

    read: Reader
    detect: Detector
    aliases: tuple[str, ...] = ()
    """Other names that are accepted; case, `-`, `_` and spaces never matter."""

    recipe: str = "finetune"
    """The recipe that it is trained by unless another is asked for."""

    num_classes: Mapping[str, int] = field(default_factory=dict)
    """Classes of the complete data set by head; empty for a layout that has any number of them."""

    published_as: str | None = None
    """Its name in tables of published results, if that is not the title."""

    foreign_order: str | None = None
    """The order in which all other projects' checkpoints number its classes (`Dataset.label_order`); None: unknown."""

    has_subset_lists: bool = False
    """Whether it has EPIC-KITCHENS-100's lists of unseen participants and tail classes (`tdpn eval --annotations`)."""

    download: Download | ByHand | None = None
    """What `--download` fetches, or what it says of a data set that only people can download."""

    conflicts: tuple[str, ...] = ()
    """Data sets whose annotations look alike but number their classes differently: the two must not be mixed."""

    def is_called(self, name: str) -> bool:
        """Whether `name` is the name, or one of the aliases."""
        return plain(name) in {plain(own) for own in (self.name, *self.aliases)}
