"""The data sets by name, or by what their files look like."""

from __future__ import annotations

from pathlib import Path

from tdpn_core.datasets.class_names import reorder
from tdpn_core.datasets.clip_table import Dataset
from tdpn_core.datasets.detect import Detection, recognise
from tdpn_core.datasets.diving48 import read_diving48
from tdpn_core.datasets.epic import read_epic
from tdpn_core.datasets.folder import read_folder
from tdpn_core.datasets.kinetics import read_kinetics
from tdpn_core.datasets.list_files import read_list
from tdpn_core.datasets.options import DatasetOptions
from tdpn_core.datasets.scan import TEXT_SUFFIXES, Found, scan
from tdpn_core.datasets.something import read_something
from tdpn_core.datasets.ucf_hmdb import read_hmdb51, read_ucf101
from tdpn_core.errors import DatasetError, UsageError

DATASETS = (
    "kinetics400",
    "kinetics600",
    "kinetics700",
    "something-v1",
    "something-v2",
    "epic100",
    "epic55",
    "ucf101",
    "hmdb51",
    "jester",
    "diving48",
    "folder",
    "list",
)
AUTO = "auto"
_DEFAULTS = DatasetOptions()


def read_dataset(name: str, root: Path, *, options: DatasetOptions = _DEFAULTS) -> Dataset:
    """Read the data set `name` at `root` as a table of clips; no video is opened.

    Args:
        name: one of `DATASETS`, or `auto` to tell by the files.
        root: the folder that its videos or pictures lie in.
        options: choices, of which some matter to one data set only.

    Raises:
        UsageError: no such data set is known, or it cannot be had as the options ask.
        DatasetError: `root` does not hold it, or an annotation file is faulty.
    """
    if name not in (*DATASETS, AUTO):
        raise UsageError(f"no data set is called {name!r}", hint=f"known are {', '.join(DATASETS)}, and {AUTO}")
    found = scan(root)
    texts = _texts(found, options)
    try:
        if name != AUTO:
            return reorder(_read(name, found, texts, options), options)
        detection = recognise(found, texts, options)
        dataset = reorder(_read(detection.name, found, texts, options), options)
        dataset.notes.insert(0, detection.sentence())
        return dataset
    except DatasetError as error:
        if error.where is None:
            raise DatasetError(error.what, where=root, hint=error.hint) from error
        raise


def detect(root: Path, *, options: DatasetOptions = _DEFAULTS) -> Detection:
    """Tell which data set lies at `root`, and by what.

    Raises:
        DatasetError: nothing that is known, or two that must not be mixed.
    """
    found = scan(root)
    return recognise(found, _texts(found, options), options)


def _read(name: str, found: Found, texts: list[Path], options: DatasetOptions) -> Dataset:
    if name.startswith("kinetics"):
        return read_kinetics(name, found, texts, options)
    if name in ("something-v1", "something-v2", "jester"):
        return read_something(name, found, texts, options)
    if name in ("epic100", "epic55"):
        return read_epic(name, found, texts, options)
    if name == "ucf101":
        return read_ucf101(found, texts, options)
    if name == "hmdb51":
        return read_hmdb51(found, texts, options)
    if name == "diving48":
        return read_diving48(found, texts, options)
    if name == "list":
        return read_list(found, texts, options)
    dataset = read_folder(found, options)
    if given := options.annotation_paths():
        what = "classes are those of the folders, and --annotations is not used"
        dataset.notes.insert(0, f"{what}: {', '.join(path.name for path in given)}")
    return dataset


def _texts(found: Found, options: DatasetOptions) -> list[Path]:
    """The files that may be annotations: those that the options name, or else those below the root."""
    given = options.annotation_paths()
    if not given:
        return [found.root / text for text in found.texts]
    texts = []
    for path in given:
        if path.is_dir():
            texts += [path / text for text in scan(path).texts]
        elif path.is_file():
            texts.append(path)
        else:
            raise DatasetError("is no file or folder of annotations", where=path)
    if not texts:
        endings = " ".join(sorted(TEXT_SUFFIXES))
        raise DatasetError("holds no annotation files", where=given[0], hint=f"they end in one of {endings}")
    return texts
