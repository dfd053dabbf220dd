"""Find the ffmpeg program: the one that the user names, else the one bundled with imageio-ffmpeg."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tdpn_core.errors import ClipError, ToolError
from tdpn_core.video.subprocess_limits import Limits, run_child

VARIABLE = "TDPN_FFMPEG"
NEEDED = (6, 0)  # the first with -stats_enc_post, which reports each frame's size and time
_HINT = f"name another with {VARIABLE}, or unset it to use the one bundled with imageio-ffmpeg"


@dataclass(frozen=True)
class Program:
    """An ffmpeg program of known version."""

    path: str
    version: str


def find_ffmpeg(named: str | None = None) -> Program:
    """Return the ffmpeg program: `named`, else from the environment variable TDPN_FFMPEG, else imageio-ffmpeg's.

    Raises:
        ToolError: there is none, it does not run, or it is older than 6.0.
    """
    path = named or os.environ.get(VARIABLE) or _bundled()
    try:
        answer = run_child([path, "-hide_banner", "-version"], Limits(seconds=30), where=Path(path))
    except ClipError as error:
        raise ToolError(error.what, where=path, hint=_HINT) from error
    found = re.match(r"ffmpeg version (\S+)", answer.output.decode(errors="replace"))
    if found is None:
        raise ToolError("is not an ffmpeg program", where=path, hint=_HINT)
    version = found[1]
    numbers = re.match(r"n?(\d+)\.(\d+)", version)  # development builds have none and count as new
    if numbers and (int(numbers[1]), int(numbers[2])) < NEEDED:
        needed = ".".join(map(str, NEEDED))
        raise ToolError(f"is ffmpeg {version}, but {needed} or newer is required", where=path, hint=_HINT)
    return Program(path, version)


def _bundled() -> str:
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise ToolError("no ffmpeg program found", hint=f"pip install imageio-ffmpeg, or set {VARIABLE}") from error
