"""From a root folder to a table of clips: one file a family of data sets; nothing else knows about data sets."""

from tdpn_core.datasets.clip_table import Dataset
from tdpn_core.datasets.detect import Detection
from tdpn_core.datasets.options import DatasetOptions
from tdpn_core.datasets.registry import AUTO, DATASETS, detect, read_dataset
from tdpn_core.datasets.understanding import OddLine, Reading, Understanding

__all__ = [
    "AUTO",
    "DATASETS",
    "Dataset",
    "DatasetOptions",
    "Detection",
    "OddLine",
    "Reading",
    "Understanding",
    "detect",
    "read_dataset",
]
