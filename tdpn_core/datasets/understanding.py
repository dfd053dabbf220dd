"""How a reader interpreted a data set; shown before anything is decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tdpn_core.datasets.annotation_io import place_in


@dataclass(frozen=True)
class OddLine:
    """A line or entry of an annotation file that differs from the others."""

    file: Path
    line: int
    """Number of the line, or of the entry in JSON and XML, from 1."""

    reason: str
    """What is wrong with it and how it was handled."""

    text: str
    """The line, shortened."""

    def __str__(self) -> str:
        return f"{self.file.name} {place_in(self.file, self.line)}: {self.reason}: {self.text}"


@dataclass(frozen=True)
class Reading:
    """How annotation files and folders were read; filled by every reader."""

    layout: str
    """Kind of layout, as text."""

    annotations: tuple[Path, ...] = ()
    """Files that were read: lists, annotation files, class files."""

    columns_used: Mapping[str, str] = field(default_factory=dict)
    """Column by role (`path`, `label`, `class name`, `split`, …): the header's name or `column 2`."""

    columns_ignored: tuple[str, ...] = ()
    odd_lines: tuple[OddLine, ...] = ()


@dataclass(frozen=True)
class Understanding(Reading):
    """A `Reading` with its results."""

    classes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Number of clips found, by head and class in label order; includes classes without clips."""

    unlabelled: int = 0
    """Number of clips found without a label of the first head."""

    listed: Mapping[str, int] = field(default_factory=dict)
    """Number of clips by split in the annotations or, without annotations, on disk."""

    found: Mapping[str, int] = field(default_factory=dict)
    """Number of clips by split that will be packed."""

    missing: Mapping[str, int] = field(default_factory=dict)
    """Number of clips by split that are listed but not on disk."""

    notes: tuple[str, ...] = ()
    """Warnings, as text."""
