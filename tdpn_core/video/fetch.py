"""A video behind an address, brought here as it is: its packets are copied, nothing is decoded."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ffmpeg

from tdpn_core.errors import ClipError
from tdpn_core.video.address import Address
from tdpn_core.video.child import Limits, run_child
from tdpn_core.video.command import PICTURE
from tdpn_core.video.log import complaints
from tdpn_core.video.program import Program
from tdpn_core.video.scratch import scratch_file

LIMITS = Limits(seconds=1800.0)
_REASONS = (
    (re.compile(r"HTTP error (\d{3})[^\n]*|Server returned (\w+ [^\n]*)"), "the server answers: {0}"),
    (re.compile(r"Connection refused"), "the server refuses the connection"),
    (re.compile(r"Failed to resolve hostname|Name or service not known"), "there is no such server"),
    (re.compile(r"timed out|Connection reset"), "the connection was lost"),
    (re.compile(r"[Pp]rotocol '?(\w+)'? not on whitelist"), "leads to {0}:, which is not followed"),
    (re.compile(r"not on whitelist|not in allowed|Invalid data found"), "not a video container that is read here"),
    (re.compile(r"matches no streams"), "no video stream"),
)


@contextmanager
def fetched(address: Address, program: Program, *, limits: Limits = LIMITS) -> Iterator[Path]:
    """The first video stream behind an address, in a scratch file that is gone afterwards.

    Raises:
        ClipError: it cannot be opened, or breaks off.
        TdpnError: the disk is full.
    """
    with tempfile.TemporaryDirectory(prefix="tdpn-") as folder:
        path = Path(folder) / "fetched.mkv"
        with scratch_file(path) as file:
            source = ffmpeg.input(address.name, **dict(address.options))
            output = ffmpeg.output(
                source[PICTURE], "fd:", fd=1, c="copy", format="matroska"
            )  # can go back, unlike a pipe
            quiet = output.global_args("-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info")
            finished = run_child(quiet.compile(cmd=program.path), limits, where=Path(address.name), output=file)
            if finished.status != 0 or file.seek(0, 2) == 0 or lost(finished.log):
                raise ClipError(why_not(finished.log), where=address.name)
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
