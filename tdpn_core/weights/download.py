"""torchvision's ImageNet weights, out of torch's hub cache or into it."""

from __future__ import annotations

from pathlib import Path

import torch

from tdpn_core.errors import CheckpointError, TdpnError
from tdpn_core.fetch_limits import FetchLimits

SERVER = "https://download.pytorch.org/models"

FILES: dict[str, str] = {
    "r18": "resnet18-f37072fd.pth",
    "r34": "resnet34-b627a593.pth",
    "r50": "resnet50-0676ba61.pth",
    "r101": "resnet101-63fe2227.pth",
}
"""Of each depth (IMAGENET1K_V1). A name ends in the first digits of the file's sha256."""


def imagenet(arch: str) -> Path:
    """The file of torchvision's ResNet of this depth, downloaded unless it is in the cache, with its digest checked.

    Raises:
        CheckpointError: there is none of this depth, no network, or the digest is not the name's; the message says
            which file to put where.
    """
    from tdpn_core.download.http import fetch  # most commands do not need it

    if arch not in FILES:
        raise CheckpointError(f"there are no ImageNet weights for {arch}", hint=f"for {', '.join(FILES)} there are")
    path = Path(torch.hub.get_dir()) / "checkpoints" / FILES[arch]
    limits = FetchLimits(retries=2)  # a node without a network should say so soon
    try:
        return fetch(f"{SERVER}/{path.name}", path, sha256=path.stem.rpartition("-")[2], limits=limits)
    except TdpnError as error:
        hint = f"{error.hint}, or give --init a file of your own"
        raise CheckpointError(error.what, where=error.where, hint=hint) from error
