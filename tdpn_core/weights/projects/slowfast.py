"""What the projects' SlowFast networks have in common: pathways that are residual networks, and what shapes tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tdpn_core.errors import CheckpointError
from tdpn_core.weights.project import Entries

Kernel = Callable[[int, int, int], str]
"""The name of a block's first convolution, by pathway (0 slow, 1 fast), stage (1 to 4) and block."""


def slowfast_settings(entries: Entries, arch: str, laterals: tuple[str, ...], *, deep_alpha: int) -> dict[str, Any]:
    """The settings that `laterals`, the names of the four lateral kernels, tell.

    A kernel of 7 goes with alpha 4; one of 5 with alpha 8, and with `deep_alpha` at depth 101.

    Raises:
        CheckpointError: the fast pathway has not an eighth of the slow one's channels.
    """
    out, channels = entries.shape(laterals[0])[:2]
    if (channels, out) != (8, 16):
        raise CheckpointError(f"its fast pathway has {channels} channels where an eighth of the slow one's is 8")
    kernel = entries.time(laterals[0])
    alpha = 4 if kernel >= 7 else deep_alpha if arch == "r101" else 8
    return {"name": "slowfast", "arch": arch, "num_frames": 32, "alpha": alpha, "lateral_kernel": kernel}


def same_depth(slow: str, fast: str) -> str:
    """The depth of both pathways.

    Raises:
        CheckpointError: they differ.
    """
    if slow != fast:
        raise CheckpointError(f"its slow pathway is {slow} and its fast one {fast}: here both have one depth")
    return slow


def temporal_blocks(entries: Entries, counts: tuple[int, ...], name: Kernel) -> dict[str, Any]:
    """The settings that the blocks' kernels tell, if only the first ones of a stage look at three frames.

    Such networks were published for 64 frames (16x8).

    Raises:
        CheckpointError: a block looks at other frames than the published networks' do.
    """
    having = []
    for stage, (count, slow) in enumerate(zip(counts, (1, 1, 3, 3), strict=True), start=1):
        fast = [entries.time(name(1, stage, block)) for block in range(count)]
        leading = fast.count(3)
        for pathway, kernel in ((0, slow), (1, 3)):
            for block in range(count):
                found, expected = entries.time(name(pathway, stage, block)), kernel if block < leading else 1
                if found != expected:
                    raise CheckpointError(
                        f"{name(pathway, stage, block)} looks at {found} frames where it looks at {expected} here"
                    )
        having.append(leading)
    return {} if tuple(having) == counts else {"temporal_blocks": tuple(having), "num_frames": 64}
