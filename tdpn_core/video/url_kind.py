"""Determine what is behind an http address before reading it: a file, a finite playlist, or a live stream."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from tdpn_core.errors import TdpnError
from tdpn_core.fetch_limits import FOR_VIDEOS, FetchLimits
from tdpn_core.video.finite_file import MOST, is_finite
from tdpn_core.video.url import Address
from tdpn_core.video.url_download import not_fetched

if TYPE_CHECKING:
    from tdpn_core.download.http import Peeked

_LONGEST_PLAYLIST = 16 << 20  # bytes


def inspected(address: Address, limits: FetchLimits = FOR_VIDEOS) -> Address:
    """Return the address with the kind that the server's answer shows; rtsp and cameras are live without a request.

    An answer of known length is a file, and so is one of unknown length whose first bytes only a complete file can
    have (`finite_file`). A playlist with `#EXT-X-ENDLIST` is finite; a playlist without it and any other answer of
    unknown length are live.

    Raises:
        ClipError: the server refuses, cannot be reached, or does not answer within the limits.
    """
    if not address.name.lower().startswith(("http://", "https://")):
        return address
    from tdpn_core.download.http import peek  # local files do not need it

    try:
        found = peek(
            address.name, limits=limits, wants_body=_is_playlist_or_unknown, most=_LONGEST_PLAYLIST, enough=_is_decided
        )
    except TdpnError as error:
        raise not_fetched(address, error) from error
    if _is_playlist(found):
        return replace(address, kind="playlist" if _has_end(found, limits) else "live")
    return replace(address, kind="live" if _is_unknown(found) and not is_finite(found.body) else "file")


def _is_unknown(found: Peeked) -> bool:
    """Return whether only the first bytes can tell; a page is refused by the download."""
    return found.length is None and found.content_type != "text/html"


def _is_playlist_or_unknown(found: Peeked) -> bool:
    return _is_playlist(found) or _is_unknown(found)


def _is_decided(body: bytes) -> bool:
    """Return whether the bytes so far tell the kind; a playlist is read to its end."""
    return not body.startswith(b"#EXTM3U"[: len(body)]) and (is_finite(body) is not None or len(body) >= MOST)


def _is_playlist(found: Peeked) -> bool:
    """Detect a playlist as ffmpeg does."""
    return "mpegurl" in found.content_type or PurePosixPath(urlsplit(found.url).path).suffix in (".m3u8", ".m3u")


def _has_end(playlist: Peeked, limits: FetchLimits) -> bool:
    """Return whether the playlist, or the first one that it names, is complete; True if it is not a playlist."""
    from tdpn_core.download.http import peek

    lines = playlist.body.decode(errors="replace").splitlines()
    if not lines or not lines[0].startswith("#EXTM3U"):
        return True
    if any(line.startswith("#EXT-X-STREAM-INF") for line in lines):
        variant = next((line.strip() for line in lines if line.strip() and not line.startswith("#")), "")
        try:
            url = urljoin(playlist.url, variant)
            found = peek(url, limits=limits, wants_body=lambda _: True, most=_LONGEST_PLAYLIST)
        except TdpnError:  # ffmpeg may choose another one, or reports the error
            return True
        lines = found.body.decode(errors="replace").splitlines()
    return any(line.startswith("#EXT-X-ENDLIST") for line in lines)
