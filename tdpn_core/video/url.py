"""Video addresses that ffmpeg opens over the network, and cameras, at a user's request.

Local files are never opened this way: a network stream must not redirect ffmpeg to a file of this machine.
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from tdpn_core.errors import UsageError
from tdpn_core.video.containers import CONTAINERS

Kind = Literal["file", "playlist", "live"]

_SCHEMES: dict[str, Kind] = {"http": "file", "https": "file", "rtsp": "live", "rtsps": "live"}
_FORMATS = f"{CONTAINERS},hls,rtsp,rtp,mpjpeg"
_PROTOCOLS = "http,https,tcp,tls,crypto,udp,rtp,srtp,httpproxy"  # no local resources: no file, pipe or fd


@dataclass(frozen=True)
class Address:
    """An input for ffmpeg."""

    name: str
    kind: Kind
    """A file is downloaded, a playlist is read at our pace, a live stream at its own."""

    options: tuple[tuple[str, Any], ...]
    """ffmpeg options before the input."""


def network_address(url: str) -> Address:
    """Return the address of a URL, with the kind guessed from its text; `url_kind.inspected` asks the server.

    Raises:
        UsageError: its scheme is not http, https or rtsp.
    """
    scheme = url.partition("://")[0].lower()
    if scheme not in _SCHEMES:
        known = ", ".join(f"{name}://" for name in _SCHEMES)
        raise UsageError(f"{scheme}:// addresses are not supported", where=url, hint=f"name a file, or one of {known}")
    options: tuple[tuple[str, Any], ...] = (("protocol_whitelist", _PROTOCOLS), ("format_whitelist", _FORMATS))
    if scheme.startswith("rtsp"):
        options += (("rtsp_transport", "tcp"),)
    playlist = urlsplit(url).path.endswith(".m3u8") and not scheme.startswith("rtsp")
    return Address(url, "playlist" if playlist else _SCHEMES[scheme], options)


def camera(device: int | str) -> Address:
    """Return the address of a webcam, by number or device path.

    Raises:
        UsageError: cameras are not supported on this system.
    """
    number = str(device)
    system = platform.system()
    if system == "Linux":
        path = f"/dev/video{number}" if number.isdecimal() else number
        if not re.fullmatch(r"/dev/[\w/.-]+", path):
            raise UsageError(
                f"{device!r} is not a camera", where="--webcam", hint="give a number, or a path below /dev"
            )
        return Address(path, "live", (("f", "v4l2"), ("protocol_whitelist", "file")))
    if system == "Darwin":
        return Address(f"{number}:none", "live", (("f", "avfoundation"), ("framerate", 30)))
    raise UsageError(f"webcams are not supported on {system}", where="--webcam")
