"""Downloads: one file by http, and data sets whose owners let programs download them."""

from tdpn_core.download.archive import extract
from tdpn_core.download.catalogue import downloadable, plan
from tdpn_core.download.download import DownloadReport, download
from tdpn_core.download.http import FetchLimits, fetch
from tdpn_core.download.members import ArchiveLimits

__all__ = [
    "ArchiveLimits",
    "DownloadReport",
    "FetchLimits",
    "download",
    "downloadable",
    "extract",
    "fetch",
    "plan",
]
