"""From a root folder to a table of clips: one file a family of data sets; nothing else knows about data sets."""

from tdpn_core.datasets.read import read_dataset
from tdpn_core.datasets.table import Dataset

__all__ = ["Dataset", "read_dataset"]
