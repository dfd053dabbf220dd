"""Data sets whose owners let programs download them, from the web to the tree that `tdpn prep` reads."""

from tdpn_core.download.archive import ArchiveLimits, Extraction, extract
from tdpn_core.download.catalogue import DOWNLOADABLE, RemoteFile, plan
from tdpn_core.download.download import DownloadReport, download
from tdpn_core.download.http import Fetched, Patience, fetch

__all__ = [
    "DOWNLOADABLE",
    "ArchiveLimits",
    "DownloadReport",
    "Extraction",
    "Fetched",
    "Patience",
    "RemoteFile",
    "download",
    "extract",
    "fetch",
    "plan",
]
