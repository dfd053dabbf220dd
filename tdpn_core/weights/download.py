"""torchvision's ImageNet weights, out of torch's hub cache or into it."""

from __future__ import annotations

import hashlib
import urllib.error
from pathlib import Path

import torch

from tdpn_core.config.schema import Arch
from tdpn_core.errors import CheckpointError

SERVER = "https://download.pytorch.org/models"

FILES: dict[Arch, str] = {
    "r18": "resnet18-f37072fd.pth",
    "r34": "resnet34-b627a593.pth",
    "r50": "resnet50-0676ba61.pth",
    "r101": "resnet101-63fe2227.pth",
}
"""Of each depth (IMAGENET1K_V1). A name ends in the first digits of the file's sha256."""


def imagenet(arch: Arch) -> Path:
    """The file of torchvision's ResNet of this depth, fetched if it is not in the cache yet, its hash checked.

    Raises:
        CheckpointError: there is none of this depth, no network, or the file is not what its name says; the message
            names what has to lie where.
    """
    if arch not in FILES:
        raise CheckpointError(f"there are no ImageNet weights for {arch}", hint=f"for {', '.join(FILES)} there are")
    path = Path(torch.hub.get_dir()) / "checkpoints" / FILES[arch]
    url = f"{SERVER}/{path.name}"
    expected = path.stem.rpartition("-")[2]
    if not path.is_file():
        _fetch(url, path, expected)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(expected):
        raise CheckpointError(
            f"its sha256 begins with {found[:8]}, not with {expected}", where=path, hint=f"get it again from {url}"
        )
    return path


def _fetch(url: str, path: Path, expected: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=expected, progress=False)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise CheckpointError(
            f"cannot be fetched ({error})",
            where=url,
            hint=f"on a machine with a network get this file and put it at {path}, or give --init a file of your own",
        ) from error
