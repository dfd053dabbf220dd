"""Starting from weights that exist: a checkpoint of ours or of another project, or images'."""

from __future__ import annotations

from pathlib import Path

from tdpn_core.checkpoint import is_checkpoint, load_checkpoint
from tdpn_core.errors import CheckpointError
from tdpn_core.model.network import Network
from tdpn_core.shards.manifest import Manifest
from tdpn_core.weights.adopt import check_own
from tdpn_core.weights.convert import import_weights
from tdpn_core.weights.fetch import imagenet
from tdpn_core.weights.rules import Report
from tdpn_core.weights.transfer import start_from, transfer

IMAGENET = Path("imagenet")
"""In the place of a file: torchvision's ResNet of the network's depth."""


def initialise(model: Network, path: Path, manifest: Manifest | None = None, *, ema: bool | None = None) -> Report:
    """Fill `model` from `path` with what fits; gives the account, to be shown.

    `path` is a checkpoint of any of our networks, one of another project (`tdpn_core.weights`), or `IMAGENET`. Rows of
    its classifiers are taken by the names of classes, of which `manifest` has the model's; without it none are. `ema`
    chooses between raw and averaged weights of another project's file, as in `read_weights`.

    Raises:
        CheckpointError: unreadable, of an unknown project, of another depth, or nothing in it fits.
        UsageError: `ema` for a checkpoint of ours.
    """
    if path == IMAGENET and not path.exists():
        return start_from(model, import_weights(imagenet(model.config.arch), ema=ema))
    if not path.is_file():
        raise CheckpointError("no such file of weights", where=path)
    if is_checkpoint(path):
        check_own(ema)
        checkpoint = load_checkpoint(path)
        known, wanted = checkpoint.config.data.classes, manifest.classes if manifest else {}
        return transfer(model, checkpoint.weights, str(path), known=known, wanted=wanted)
    return start_from(model, import_weights(path, ema=ema), manifest)
