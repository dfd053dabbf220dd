"""Find ImageNet weights of a depth: torchvision's, downloaded to torch's hub cache, or those of a Python package."""

from __future__ import annotations

from pathlib import Path

import torch

from tdpn_core.errors import CheckpointError, TdpnError
from tdpn_core.fetch_limits import FetchLimits
from tdpn_core.weights.packaged import PACKAGES, packaged

SERVER = "https://download.pytorch.org/models"

FILES: dict[str, str] = {
    "r18": "resnet18-f37072fd.pth",
    "r34": "resnet34-b627a593.pth",
    "r50": "resnet50-0676ba61.pth",
    "r101": "resnet101-63fe2227.pth",
}
"""File names by depth (IMAGENET1K_V1). Each name ends in the first digits of the file's SHA-256."""


def imagenet(arch: str) -> Path:
    """Return the file of the image network `arch`, with its digest checked; download torchvision's unless cached.

    Raises:
        CheckpointError: there are no weights for this depth, the download fails, the package is not installed, or the
            digest differs from the name; the message says where to put the file by hand, or what to install.
    """
    if arch in PACKAGES:
        return packaged(arch)
    from tdpn_core.download.http import fetch  # most commands do not need it

    if arch not in FILES:
        known = ", ".join([*FILES, *PACKAGES])
        raise CheckpointError(f"there are no ImageNet weights for {arch}", hint=f"available: {known}")
    path = Path(torch.hub.get_dir()) / "checkpoints" / FILES[arch]
    limits = FetchLimits(retries=2)  # fail early on a node without internet access
    try:
        return fetch(f"{SERVER}/{path.name}", path, sha256=path.stem.rpartition("-")[2], limits=limits)
    except TdpnError as error:
        hint = f"{error.hint}, or give --init a file of your own"
        raise CheckpointError(error.what, where=error.where, hint=hint) from error
