"""Registry of data sets; reads one by name or after detection.

Another package adds a data set with an entry point in the group `tdpn.datasets` whose object is a `DatasetSpec`.
"""

from __future__ import annotations

from pathlib import Path

from tdpn_core.datasets.class_names import reorder
from tdpn_core.datasets.clip_table import Dataset
from tdpn_core.datasets.detect import Detection, recognise
from tdpn_core.datasets.options import DatasetOptions
from tdpn_core.datasets.scan import TEXT_SUFFIXES, Found, scan
from tdpn_core.datasets.spec import DatasetSpec
from tdpn_core.errors import DatasetError, PluginError, UsageError
from tdpn_core.plugins import Registry

DATASETS: Registry[DatasetSpec] = Registry(
    "data set",
    "tdpn.datasets",
    {
        "kinetics400": "tdpn_core.datasets.kinetics:KINETICS400",
        "kinetics600": "tdpn_core.datasets.kinetics:KINETICS600",
        "kinetics700": "tdpn_core.datasets.kinetics:KINETICS700",
        "something-v2": "tdpn_core.datasets.something:SOMETHING_V2",
        "something-v1": "tdpn_core.datasets.something:SOMETHING_V1",
        "jester": "tdpn_core.datasets.something:JESTER",
        "epic100": "tdpn_core.datasets.epic:EPIC100",
        "epic55": "tdpn_core.datasets.epic:EPIC55",
        "diving48": "tdpn_core.datasets.diving48:DIVING48",
        "ucf101": "tdpn_core.datasets.ucf_hmdb:UCF101",
        "hmdb51": "tdpn_core.datasets.ucf_hmdb:HMDB51",
        "segments": "tdpn_core.datasets.segment_table:SEGMENTS",
        "list": "tdpn_core.datasets.list_files:LIST",
        "folder": "tdpn_core.datasets.folder:FOLDER",
    },
    lambda part: isinstance(part, DatasetSpec),
)
"""By name, in the order of detection: layouts that match many files are last."""

AUTO = "auto"
_DEFAULTS = DatasetOptions()


def known_datasets() -> tuple[str, ...]:
    """The names of all data sets and layouts, those of other packages included; `auto` detects which one it is."""
    return (AUTO, *DATASETS)


def find_dataset(name: str) -> DatasetSpec:
    """Return the data set called `name`, in any of its spellings.

    Raises:
        UsageError: there is none; the message lists them.
        PluginError: another package's data set cannot be loaded.
    """
    known = DATASETS.named(name)
    if known is not None:
        return _checked(known)
    spec = next((spec for spec in map(_checked, DATASETS) if spec.is_called(name)), None)
    if spec is None:
        raise DATASETS.unknown(name, also=(AUTO,))
    return spec


def read_dataset(name: str, root: Path, *, options: DatasetOptions = _DEFAULTS) -> Dataset:
    """Read the data set `name` at `root` to a table of clips; no video is opened.

    Args:
        name: name or alias of one of `DATASETS`, or `auto` to detect it.
        root: folder of its videos or pictures.
        options: options, some of which apply to only one data set.

    Raises:
        UsageError: the data set is unknown, or does not support the options.
        DatasetError: `root` does not contain it, or an annotation file has an error.
        PluginError: another package's data set cannot be loaded.
    """
    spec = None if name == AUTO else find_dataset(name)
    found, options = scan(root), options.at(root)
    texts = _texts(found, options)
    try:
        if spec is not None:
            return _with_labels(reorder(spec.read(found, texts, options), options), options)
        detection = recognise(_in_order(), found, texts, options)
        dataset = _with_labels(reorder(DATASETS[detection.name].read(found, texts, options), options), options)
        dataset.notes.insert(0, detection.sentence())
        return dataset
    except DatasetError as error:
        if error.where is None:
            raise DatasetError(error.what, where=root, hint=error.hint) from error
        raise


def _with_labels(dataset: Dataset, options: DatasetOptions) -> Dataset:
    """Return the data set.

    Raises:
        UsageError: several labels per clip are requested of a data set that has one.
    """
    if options.multilabel and not dataset.multilabel:
        what = f"a clip of the {dataset.name} data set has one label"
        hint = "leave it out, or describe the clips in a list: tdpn prep list"
        raise UsageError(what, where="--multilabel", hint=hint)
    return dataset


def detect(root: Path, *, options: DatasetOptions = _DEFAULTS) -> Detection:
    """Detect the data set at `root`, with the evidence.

    Raises:
        DatasetError: there is no known data set, or two that must not be mixed.
        PluginError: another package's data set cannot be loaded.
    """
    found, options = scan(root), options.at(root)
    return recognise(_in_order(), found, _texts(found, options), options)


def _in_order() -> list[DatasetSpec]:
    """Return all data sets in the order of detection: those of other packages first, since they were installed."""
    return [_checked(name) for name in (*DATASETS.plugins(), *DATASETS.own)]


def _checked(name: str) -> DatasetSpec:
    """Load the data set of an entry point.

    Raises:
        PluginError: it cannot be loaded, or its name differs from the entry point's.
    """
    spec = DATASETS[name]
    if spec.name != name:
        what = f"the entry point {name!r} provides a data set with the name {spec.name!r}"
        raise PluginError(what, hint="use the same name for both")
    return spec


def _texts(found: Found, options: DatasetOptions) -> list[Path]:
    """Return files that may be annotations: those in the options, or else those below the root."""
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
            raise DatasetError("is not a file or folder of annotations", where=path)
    if not texts:
        endings = " ".join(sorted(TEXT_SUFFIXES))
        raise DatasetError("contains no annotation files", where=given[0], hint=f"supported suffixes: {endings}")
    return texts
