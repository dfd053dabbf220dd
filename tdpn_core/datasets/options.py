"""Options for reading a data set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from tdpn_core import defaults
from tdpn_core.datasets.background import BackgroundOptions
from tdpn_core.errors import UsageError

LabelOrder = Literal["official", "file", "sorted", "cleaned"]
SourceChoice = Literal["auto", "videos", "frames"]
OverlapChoice = Literal["refuse", "keep", "first", "longest"]

_OFFICIAL_SPLITS = (1, 2, 3)  # of UCF101 and HMDB51


@dataclass(frozen=True)
class DatasetOptions:
    """Options that apply to some of the data sets and are ignored by others."""

    seed: int = defaults.SEED
    """Random seed of the validation split, if a data set has none."""

    split: int = defaults.OFFICIAL_SPLIT
    """Official split of UCF101 and HMDB51 (1, 2 or 3), or of lists numbered like theirs."""

    label_order: LabelOrder = defaults.LABEL_ORDER
    """Order of the classes, in which code bases differ: `official` is what the data set documents, `file` that of its
    own class file, `sorted` that of the sorted names, `cleaned` that of the sorted names of cleaned folders (as in
    torchvision: spaces become `_`; quotes and brackets are removed)."""

    class_list: Path | None = None
    """File with class names in the order to use, for example a checkpoint's; replaces `label_order`."""

    annotations: Path | tuple[Path, ...] | None = None
    """Annotation or list files, or folders of them; relative to the working directory or else to the root."""

    sources: SourceChoice = defaults.SOURCES
    """Which source to read if a clip exists both as a video and as frames; `auto` uses the video."""

    ignore_segments: bool = False
    """Pack entire videos although a list has start and end columns."""

    multilabel: bool = False
    """A clip may belong to several classes: its lines, or the segments that cover most of it, are joined."""

    overlaps: OverlapChoice = defaults.OVERLAPS
    """Segments of one video with different labels that overlap: an error, use both, the one that starts first, or the
    longest."""

    background: BackgroundOptions | None = None
    """Use gaps between annotated segments as clips of a class of their own."""

    def __post_init__(self) -> None:
        for name, allowed in (
            ("label_order", get_args(LabelOrder)),
            ("sources", get_args(SourceChoice)),
            ("overlaps", get_args(OverlapChoice)),
        ):
            if getattr(self, name) not in allowed:
                raise UsageError(f"{name} {getattr(self, name)!r} is unknown", hint=f"one of {', '.join(allowed)}")
        if self.split not in _OFFICIAL_SPLITS:
            raise UsageError(f"there is no split {self.split}", hint="the official splits are 1, 2 and 3")

    def annotation_paths(self) -> tuple[Path, ...]:
        """Return `annotations` as a tuple."""
        if self.annotations is None:
            return ()
        return (self.annotations,) if isinstance(self.annotations, Path) else tuple(self.annotations)

    def at(self, root: Path) -> DatasetOptions:
        """Return the options with annotations found under `root` where the working directory has none."""
        given = self.annotation_paths()
        if not given:
            return self
        return replace(self, annotations=tuple(path if path.exists() else _under(root, path) for path in given))


def _under(root: Path, path: Path) -> Path:
    inside = root / path
    return inside if inside.exists() else path
