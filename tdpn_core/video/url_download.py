"""A video behind an address, brought here as it is, so that it is read like any file; and why that failed."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from tdpn_core.errors import ClipError, TdpnError
from tdpn_core.video.ffmpeg_log import complaints
from tdpn_core.video.url import Address

_REASONS = (
    (re.compile(r"HTTP error (\d{3})|Server returned (4\w\w|5\w\w)"), "the server answers {0}"),
    (re.compile(r"Connection refused"), "the server refuses the connection"),
    (re.compile(r"Failed to resolve hostname|Name or service not known"), "there is no such server"),
    (re.compile(r"timed out|Connection reset"), "the connection was lost"),
    (re.compile(r"[Pp]rotocol '?(\w+)'? not on whitelist"), "leads to {0}:, which is not followed"),
    (re.compile(r"not on whitelist|not in allowed|Invalid data found"), "not a video that is read here"),
    (re.compile(r"matches no streams"), "no video stream"),
    (re.compile(r"/dev/\S+: (No such file|Permission denied|Device or resource busy)"), "the camera: {0}"),
)


IDLE_SECONDS = 20.0
"""Without a byte, after which a server is asked once more: somebody waits."""

TOTAL_SECONDS = 600.0
"""For one file, retries included."""


@contextmanager
def fetched(address: Address) -> Iterator[Path]:
    """The file behind an http address, in a temporary folder that is removed afterwards.

    Raises:
        ClipError: it cannot be downloaded, or not within `TOTAL_SECONDS`.
    """
    from tdpn_core.download.http import FetchLimits, fetch  # local files do not need it

    name = PurePosixPath(urlsplit(address.name).path).name or "video"
    with tempfile.TemporaryDirectory(prefix="tdpn-") as folder:
        try:
            limits = FetchLimits(idle=IDLE_SECONDS, total=TOTAL_SECONDS, retries=1)
            path = fetch(address.name, Path(folder) / name[-80:], limits=limits)
        except TdpnError as error:
            raise ClipError(error.what, where=address.name) from error  # its hint names the temporary folder
        yield path


def lost(log: str) -> bool:
    """Whether a connection broke off before the end."""
    return re.search(r"Stream ends prematurely|Error during demuxing|error reading|timed out", log) is not None


def why_not(log: str) -> str:
    """Why an address could not be read, in a few words."""
    for pattern, reason in _REASONS:
        if match := pattern.search(log):
            return reason.format(*(group for group in match.groups() if group))
    lines = complaints(log)
    return f"cannot be read ({lines[0][:120]})" if lines else "nothing came from it"
