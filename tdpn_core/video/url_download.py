"""Download a video from an address, to be read like any file; describe errors of streams."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from tdpn_core.errors import ClipError, TdpnError
from tdpn_core.fetch_limits import FOR_VIDEOS, FetchLimits, longer
from tdpn_core.progress import SILENT, Progress
from tdpn_core.video.ffmpeg_log import complaints
from tdpn_core.video.url import Address

_REASONS = (
    (re.compile(r"HTTP error (\d{3})|Server returned (4\w\w|5\w\w)"), "the server answered {0}"),
    (re.compile(r"Connection refused"), "the server refused the connection"),
    (re.compile(r"Failed to resolve hostname|Name or service not known"), "there is no such server"),
    (re.compile(r"timed out|Connection reset"), "the connection was lost"),
    (re.compile(r"[Pp]rotocol '?(\w+)'? not on whitelist"), "redirects to {0}:, which is not followed"),
    (re.compile(r"not on whitelist|not in allowed|Invalid data found"), "not a supported video"),
    (re.compile(r"matches no streams"), "no video stream"),
    (re.compile(r"/dev/\S+: (No such file|Permission denied|Device or resource busy)"), "the camera: {0}"),
)


@contextmanager
def fetched(address: Address, limits: FetchLimits = FOR_VIDEOS, progress: Progress = SILENT) -> Iterator[Path]:
    """Yield the file behind an http address, in a temporary folder that is removed afterwards.

    Of a file whose length the server does not state, the end is not checked here: decoding it does.

    Raises:
        ClipError: it cannot be downloaded, or not within `limits`; the message contains the bytes received.
    """
    from tdpn_core.download.http import fetch  # local files do not need it

    name = PurePosixPath(urlsplit(address.name).path).name or "video"
    with tempfile.TemporaryDirectory(prefix="tdpn-") as folder:
        try:
            target = Path(folder) / name[-80:]
            path = fetch(address.name, target, caller_checks_end=True, limits=limits, progress=progress)
        except TdpnError as error:
            raise not_fetched(address, error) from error
        yield path


def not_fetched(address: Address, error: TdpnError) -> ClipError:
    """Convert a download error to a clip error without its hint, which names the temporary folder."""
    from tdpn_core.download.http import FetchLimitError

    hint = longer(error.limit) if isinstance(error, FetchLimitError) else None
    return ClipError(error.what, where=address.name, hint=hint)


def lost(log: str) -> bool:
    """Return whether a connection broke off early."""
    return re.search(r"Stream ends prematurely|Error during demuxing|error reading|timed out", log) is not None


def why_not(log: str) -> str:
    """Describe why an address could not be read."""
    for pattern, reason in _REASONS:
        if match := pattern.search(log):
            return reason.format(*(group for group in match.groups() if group))
    lines = complaints(log)
    return f"cannot be read ({lines[0][:120]})" if lines else "no data received"
