"""The data sets by name."""

from __future__ import annotations

from pathlib import Path

from tdpn_core.datasets.folder import read_folder
from tdpn_core.datasets.kinetics import read_kinetics
from tdpn_core.datasets.table import Dataset
from tdpn_core.errors import DatasetError, UsageError

DATASETS = ("folder", "kinetics400")


def read_dataset(name: str, root: Path, *, seed: int = 0) -> Dataset:
    """Read the data set `name` at `root` as a table of clips; nothing is decoded.

    Args:
        name: one of `DATASETS`.
        root: the folder that its videos and annotation files lie in.
        seed: of the split, for a data set that has none.

    Raises:
        UsageError: no such data set is known.
        DatasetError: `root` does not hold it.
    """
    try:
        if name == "folder":
            return read_folder(root, seed)
        if name == "kinetics400":
            return read_kinetics(root)
    except DatasetError as error:
        if error.where is None:
            raise DatasetError(error.what, where=root, hint=error.hint) from error
        raise
    raise UsageError(f"no data set is called {name!r}", hint=f"known are {', '.join(DATASETS)}")
