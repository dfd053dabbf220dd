"""Read data sets to tables of clips: one file per family of data sets, with its registry entries."""

from tdpn_core.datasets.clip_table import HEAD, Dataset, Rows, Source, make_dataset
from tdpn_core.datasets.detect import Detection
from tdpn_core.datasets.media_index import Sources
from tdpn_core.datasets.options import DatasetOptions
from tdpn_core.datasets.registry import AUTO, DATASETS, find_dataset, read_dataset
from tdpn_core.datasets.remote import ByHand, Download, RemoteFile
from tdpn_core.datasets.scan import Found, stem
from tdpn_core.datasets.spec import DatasetSpec, Detector, Reader
from tdpn_core.datasets.understanding import OddLine, Reading, Understanding

__all__ = [
    "AUTO",
    "DATASETS",
    "HEAD",
    "ByHand",
    "Dataset",
    "DatasetOptions",
    "DatasetSpec",
    "Detection",
    "Detector",
    "Download",
    "Found",
    "OddLine",
    "Reader",
    "Reading",
    "RemoteFile",
    "Rows",
    "Source",
    "Sources",
    "Understanding",
    "find_dataset",
    "make_dataset",
    "read_dataset",
    "stem",
]
