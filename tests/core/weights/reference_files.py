"""Checkpoints as other projects name them, from the tables of the parity fixtures: other depths, classes and variants.

`tensors` gives names and shapes without values, for tests of what a file is recognised as; `write_file` writes them
with values, for the few that run.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tdpn_core.weights.safe_load import Contents

PARITY = Path(__file__).parents[2] / "fixtures" / "parity"

LAST_BLOCK = r"(.*(?:layer3|res4|res_blocks)\.)5(\..+)"
"""Entries of the sixth block of a network of depth 50: only its third stage has so many."""

CLASSIFIER = r"(?:.*\.)?(?:fc|fc_cls|new_fc|new_cls|proj|logits\.conv3d|classifier|head|head\.1)\.(?:weight|bias)"


def table(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a fixture."""
    lines = (PARITY / name / "params.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#") and not line.startswith("name\t")]
    return {name: tuple(int(side) for side in shape.split("x") if side) for name, shape, _ in rows}


def shapes(
    name: str,
    *,
    deep: bool = False,
    classes: int | None = None,
    change: Callable[[str, tuple[int, ...]], tuple[str, tuple[int, ...]]] | None = None,
) -> dict[str, tuple[int, ...]]:
    """Those of a fixture, of depth 101 in place of 50 with `deep`, with other `classes`, each entry changed."""
    found = table(name)
    if deep:
        for entry in list(found):
            if match := re.fullmatch(LAST_BLOCK, entry):
                for block in range(6, 23):  # kernels over time can alternate between blocks
                    like = f"{match[1]}{4 + block % 2}{match[2]}"
                    found[f"{match[1]}{block}{match[2]}"] = found[like]
    if classes is not None:
        found = {
            entry: (classes, *shape[1:]) if re.fullmatch(CLASSIFIER, entry) else shape for entry, shape in found.items()
        }
    return dict(change(entry, shape) for entry, shape in found.items()) if change else found


def tensors(known: Mapping[str, tuple[int, ...]], device: str = "meta") -> dict[str, Tensor]:
    """Entries of these shapes: without values, or on the CPU with values that a network can run with."""
    if device == "meta":
        return {name: torch.empty(shape, device="meta") for name, shape in known.items()}
    torch.manual_seed(0)
    return {name: _value(name, shape) for name, shape in known.items()}


def _value(name: str, shape: tuple[int, ...]) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.ones(shape, dtype=torch.int64)
    if len(shape) > 1:
        return torch.randn(shape) * (2 / torch.Size(shape[1:]).numel()) ** 0.5
    return torch.rand(shape) + 0.5 if name.endswith(("weight", "running_var")) else 0.1 * torch.randn(shape)


def contents(
    file_name: str | Path, known: Mapping[str, tuple[int, ...]], meta: dict[str, Any] | None = None
) -> Contents:
    """What reading a file of that name gives, without values."""
    return Contents(path=Path(file_name), tensors=tensors(known), left_out={}, meta=meta or {})


def write_file(path: Path, known: Mapping[str, tuple[int, ...]], wrapper: str | None = None) -> Path:
    """A file with values; `wrapper` is the key that holds them, where the project has one."""
    values = tensors(known, "cpu")
    torch.save({wrapper: values} if wrapper else values, path)
    return path
