"""Starting from weights that exist: a checkpoint of ours, or a 2D ResNet trained on images."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from safetensors import SafetensorError, safe_open

from tdpn_core.checkpoint import is_checkpoint, load_checkpoint
from tdpn_core.errors import CheckpointError
from tdpn_core.model.inflate import inflate
from tdpn_core.model.network import Network


@dataclasses.dataclass(frozen=True, kw_only=True)
class Initialisation:
    """What was and was not filled, by counts of tensors."""

    source: Path
    filled: int
    total: int
    left_out: dict[str, str]
    """Tensors of the file that were not used, and why."""

    def __str__(self) -> str:
        unused = f", {len(self.left_out)} of the file's left out" if self.left_out else ""
        return f"started from {self.source}: {self.filled} of {self.total} tensors filled{unused}"


def initialise(model: Network, path: Path) -> Initialisation:
    """Fill `model` from `path`: a checkpoint of any of our networks, or torchvision-named 2D ResNet weights.

    From a checkpoint every tensor of the same name and shape is taken: a classifier of other classes is left out.

    Raises:
        CheckpointError: neither of the two, damaged, or nothing in it fits.
    """
    total = len(model.state_dict())
    if is_checkpoint(path):
        own, found = model.state_dict(), load_checkpoint(path).weights
        fitting = {name: value for name, value in found.items() if name in own and own[name].shape == value.shape}
        if not fitting:
            raise CheckpointError("no tensor fits this network", where=path)
        model.load_state_dict(fitting, strict=False)
        left_out = {name: "another shape" if name in own else "no such tensor" for name in found if name not in fitting}
        return Initialisation(source=path, filled=len(fitting), total=total, left_out=left_out)
    try:
        with safe_open(path, framework="pt") as file:
            images = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        hint = "--init takes a checkpoint of tdpn, or a 2D ResNet's weights in safetensors"
        raise CheckpointError(f"cannot be read ({error})", where=path, hint=hint) from error
    account = inflate(model, images)
    return Initialisation(source=path, filled=len(account.loaded), total=total, left_out=account.left_out)
