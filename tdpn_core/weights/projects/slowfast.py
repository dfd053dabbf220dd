"""Shared parts of the projects' SlowFast networks: two residual pathways, and settings read from shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tdpn_core.errors import CheckpointError
from tdpn_core.weights.project import Entries

Kernel = Callable[[int, int, int], str]
"""Name of a block's first convolution, by pathway (0 slow, 1 fast), stage (1 to 4) and block."""


def slowfast_settings(entries: Entries, arch: str, laterals: tuple[str, ...], *, deep_alpha: int) -> dict[str, Any]:
    """Derive the settings from the shapes of `laterals`, the names of the four lateral kernels.

    A kernel of 7 implies alpha 4; one of 5 implies alpha 8, or `deep_alpha` at depth 101.

    Raises:
        CheckpointError: the fast pathway does not have an eighth of the slow one's channels.
    """
    out, channels = entries.shape(laterals[0])[:2]
    if (channels, out) != (8, 16):
        raise CheckpointError(f"its fast pathway has {channels} channels instead of 8, an eighth of the slow one's")
    kernel = entries.time(laterals[0])
    alpha = 4 if kernel >= 7 else deep_alpha if arch == "r101" else 8
    return {"name": "slowfast", "arch": arch, "num_frames": 32, "alpha": alpha, "lateral_kernel": kernel}


def same_depth(slow: str, fast: str) -> str:
    """Return the common depth of both pathways.

    Raises:
        CheckpointError: they differ.
    """
    if slow != fast:
        raise CheckpointError(f"its slow pathway is {slow} and its fast one {fast}; tdpn supports one depth for both")
    return slow


def temporal_blocks(entries: Entries, counts: tuple[int, ...], name: Kernel) -> dict[str, Any]:
    """Derive the settings from the blocks' kernels: only the first blocks of a stage may span three frames.

    Networks with such blocks were published for 64 frames (16x8).

    Raises:
        CheckpointError: a block's temporal kernel differs from the published networks'.
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
                        f"{name(pathway, stage, block)} has a temporal kernel of {found}, expected {expected}"
                    )
        having.append(leading)
    return {} if tuple(having) == counts else {"temporal_blocks": tuple(having), "num_frames": 64}
