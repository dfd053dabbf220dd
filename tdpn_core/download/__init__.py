"""Data sets whose owners let programs download them, from the web to the tree that `tdpn prep` reads."""

from tdpn_core.download.archive import ArchiveLimits, Extraction, extract
from tdpn_core.download.fetch import Fetched, Patience, fetch
from tdpn_core.download.run import DownloadReport, download
from tdpn_core.download.sources import DOWNLOADABLE, RemoteFile, plan

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
