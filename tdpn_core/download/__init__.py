"""Download single files over HTTP, and data sets whose owners let programs download them."""

from tdpn_core.download.archive import extract
from tdpn_core.download.catalogue import downloadable, plan
from tdpn_core.download.download import DownloadReport
from tdpn_core.download.http import FetchLimitError, Peeked, fetch, peek
from tdpn_core.download.members import ArchiveLimits
from tdpn_core.fetch_limits import FetchLimits

__all__ = [
    "ArchiveLimits",
    "DownloadReport",
    "FetchLimitError",
    "FetchLimits",
    "Peeked",
    "downloadable",
    "extract",
    "fetch",
    "peek",
    "plan",
]
