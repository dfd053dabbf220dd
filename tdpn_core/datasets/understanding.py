"""What a reader understood of a data set: shown before anything is decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class OddLine:
    """A line of an annotation file that was not read like the others."""

    file: Path
    line: int
    """From 1."""

    reason: str
    """What is wrong with it and what became of it."""

    text: str
    """The line, shortened."""

    def __str__(self) -> str:
        return f"{self.file.name} line {self.line}: {self.reason}: {self.text}"


@dataclass(frozen=True)
class Reading:
    """How the annotation files and folders were read; every reader fills one."""

    layout: str
    """The kind of layout, in words."""

    annotations: tuple[Path, ...] = ()
    """Files that were read: lists, annotation files, class files."""

    columns_used: Mapping[str, str] = field(default_factory=dict)
    """Column by role (`path`, `label`, `class name`, `split`, …): the header's name or `column 2`."""

    columns_ignored: tuple[str, ...] = ()
    odd_lines: tuple[OddLine, ...] = ()


@dataclass(frozen=True)
class Understanding(Reading):
    """A `Reading` with what came of it."""

    classes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Number of clips found of each class, by head, in the order of the labels; classes without clips included."""

    unlabelled: int = 0
    """Clips found without a label of the first head."""

    listed: Mapping[str, int] = field(default_factory=dict)
    """Number of clips by split that annotations list or, where there are none, that are on disk."""

    found: Mapping[str, int] = field(default_factory=dict)
    """Number of clips by split that will be packed."""

    missing: Mapping[str, int] = field(default_factory=dict)
    """Number of clips by split that are listed and not on disk."""

    notes: tuple[str, ...] = ()
    """Warnings, in words."""
