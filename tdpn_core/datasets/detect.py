"""Tell a data set by its files, and say by what it was told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tdpn_core.datasets import diving48, epic, something
from tdpn_core.datasets import ucf_hmdb as ucf
from tdpn_core.datasets.folder import has_split_folders, wrapper_of
from tdpn_core.datasets.kinetics import SIZES, is_annotation, read_rows, stated_size
from tdpn_core.datasets.list_files import find_lists
from tdpn_core.datasets.options import DatasetOptions
from tdpn_core.datasets.scan import Found
from tdpn_core.errors import DatasetError


@dataclass(frozen=True)
class Candidate:
    """A data set that the files could be."""

    name: str
    evidence: str
    """What speaks for it, in words."""


@dataclass(frozen=True)
class Detection:
    """Which data set the files are taken for."""

    name: str
    evidence: str
    others: tuple[Candidate, ...] = ()
    """What they could be read as besides, the likeliest first."""

    def sentence(self) -> str:
        """The verdict, the evidence and how to override it."""
        override = ", ".join(dict.fromkeys(other.name for other in self.others)) or "list, for one"
        return f"taken for {self.name}: {self.evidence}; to read it as another, name that one ({override})"


def recognise(found: Found, texts: list[Path], options: DatasetOptions) -> Detection:
    """The first of the known data sets that the files speak for.

    Raises:
        DatasetError: none, or two that must not be mixed.
    """
    candidates = list(_candidates(found, texts, options))
    if not candidates:
        flat = sum("/" not in video for video in found.videos)
        loose = [f"{flat} videos lie directly in it, and folder wants a folder for each class"] if flat else []
        hint = "; ".join(["name the data set, or its annotation files", *loose, *found.notes()])
        raise DatasetError("is no data set that is known by its files", where=found.root, hint=hint)
    first, *others = candidates
    if first.name.startswith("epic") and any(other.name.startswith("epic") for other in others):
        what = "the annotations of both EPIC-KITCHENS-100 and -55 are here, and their classes have other numbers"
        raise DatasetError(what, where=found.root, hint="name epic100 or epic55")
    return Detection(first.name, first.evidence, tuple(others))


def _candidates(found: Found, texts: list[Path], options: DatasetOptions) -> Iterator[Candidate]:
    """Every data set that the files could be, the most telling first."""
    for name in epic.annotated_sets(texts):
        yield Candidate(name, f"{_first(texts, 'EPIC_100_' if name == 'epic100' else 'EPIC_t')} is here")
    for name in ("something-v2", "something-v1", "jester"):
        files = something.annotation_files(name, texts)
        if files:
            yield Candidate(name, f"{min(path.name for path in files.values())} is here")
    for version in ("_V2", ""):
        if roles := diving48.annotation_files(texts, version).keys() & {"train", "test"}:
            yield Candidate("diving48", f"Diving48{version}_{max(roles)}.json is here")
            break
    if "classes" in ucf.ucf_files(texts, options.split) and len(ucf.ucf_files(texts, options.split)) > 1:
        yield Candidate("ucf101", f"classInd.txt and the lists of split {options.split} are here")
    if files := ucf.hmdb_files(texts, options.split):
        yield Candidate("hmdb51", f"{min(files.values()).name} and {len(files) - 1} more lists like it are here")
    yield from _kinetics(found, texts)
    if lists := _lists(found, texts, options):
        yield Candidate("list", f"{lists}: lists of clips that are here")
    yield from _folders(found)


def _kinetics(found: Found, texts: list[Path]) -> Iterator[Candidate]:
    files = [path for path in texts if is_annotation(path)]
    if not files:
        return
    sizes = sorted({size for path in files if (size := stated_size(path))})
    size = sizes[0] if sizes else stated_size(found.root / "_" / "_")
    if size:
        yield Candidate(f"kinetics{size}", f"{files[0].name} annotates its clips, and its place says {size}")
    else:
        labels = {label for path in files for *_, label in read_rows(path)}
        size = next((str(size) for size in SIZES if len(labels) <= size + 1), str(SIZES[-1]))
        yield Candidate(f"kinetics{size}", f"{files[0].name} annotates its clips, in {len(labels - {''})} classes")
    for other in sizes[1:]:
        yield Candidate(f"kinetics{other}", "its annotations are here as well")


def _lists(found: Found, texts: list[Path], options: DatasetOptions) -> str:
    """The names of the lists; which of several to take is a question for when they are read."""
    try:
        names = (str(path.relative_to(found.root)) if path.is_relative_to(found.root) else path.name
                 for path in find_lists(found, texts, options))  # fmt: skip
        return ", ".join(names)
    except DatasetError as error:
        return error.what


def _folders(found: Found) -> Iterator[Candidate]:
    paths = found.videos + found.folders
    wrapper = wrapper_of(paths)
    paths = [path.removeprefix(wrapper) for path in paths]
    where = f"{wrapper} holds the clips; " if wrapper else ""
    if has_split_folders(paths):
        yield Candidate("folder", f"{where}class folders are in a folder of training clips")
    elif any("/" in path for path in paths):
        classes = len({path.partition("/")[0] for path in paths if "/" in path})
        yield Candidate("folder", f"{where}{classes} folders of clips, taken for classes")


def _first(texts: list[Path], prefix: str) -> str:
    return min(path.name for path in texts if path.name.startswith(prefix))
