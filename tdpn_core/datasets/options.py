"""What can be chosen about the reading of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from tdpn_core import defaults
from tdpn_core.errors import UsageError

LabelOrder = Literal["official", "file", "sorted", "cleaned"]
SourceChoice = Literal["auto", "videos", "frames"]

_OFFICIAL_SPLITS = (1, 2, 3)  # of UCF101 and HMDB51


@dataclass(frozen=True)
class DatasetOptions:
    """Choices that matter to some of the data sets; the others pass them over."""

    seed: int = defaults.SEED
    """Of the validation split, where a data set has none."""

    split: int = defaults.OFFICIAL_SPLIT
    """Which of the three official splits of UCF101 and HMDB51, or of lists that are numbered like theirs."""

    label_order: LabelOrder = defaults.LABEL_ORDER
    """Order of the classes, for code bases disagree: `official` is what the data set documents, `file` that of its own
    class file, `sorted` that of the sorted names, `cleaned` that of the sorted names of cleaned folders (as torchvision
    has them: a space is `_`; quotes and brackets are gone)."""

    class_list: Path | None = None
    """A file of class names in the order to use, a checkpoint's for instance; in the place of `label_order`."""

    annotations: Path | tuple[Path, ...] | None = None
    """Annotation or list files, or folders of them, where they do not lie under the root."""

    sources: SourceChoice = defaults.SOURCES
    """What to read where a clip is there both as a video and as frames; `auto` takes the video."""

    ignore_segments: bool = False
    """Pack entire videos where a list has columns of start and end, instead of refusing it."""

    def __post_init__(self) -> None:
        for name, allowed in (("label_order", get_args(LabelOrder)), ("sources", get_args(SourceChoice))):
            if getattr(self, name) not in allowed:
                raise UsageError(f"{name} {getattr(self, name)!r} is not known", hint=f"one of {', '.join(allowed)}")
        if self.split not in _OFFICIAL_SPLITS:
            raise UsageError(f"there is no split {self.split}", hint="the official splits are 1, 2 and 3")

    def annotation_paths(self) -> tuple[Path, ...]:
        """`annotations` as a tuple."""
        if self.annotations is None:
            return ()
        return (self.annotations,) if isinstance(self.annotations, Path) else tuple(self.annotations)
