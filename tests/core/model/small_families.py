"""The smallest form of every family that tests can run."""

from tdpn_core.config.families import find_family

FRAMES = {"i3d": 8, "slowfast": 8, "r2plus1d": 4, "r3d": 4}
"""Enough for those that shorten time."""


def smallest(name: str) -> dict[str, object]:
    """Return a family's name, its least depth and a number of frames that it can take."""
    family = find_family(name)
    arch = next((arch for arch in ("r18", "small") if arch in family.archs and name != "swin"), family.arch)
    return {"name": name, "arch": arch, "num_frames": FRAMES.get(name, 2)}
