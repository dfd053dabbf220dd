"""Declarative rename rules: a project's name of an entry, ours, and what is left out and why."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from torch import Tensor

from tdpn_core.errors import CheckpointError

COUNTER = "num_batches_tracked"  # absent from files that torch wrote before 2018; nothing in inference needs it


@dataclasses.dataclass(frozen=True)
class Rename:
    """Names that fully match `pattern` become `name` (with `\\1`...); `change` is applied to the tensor."""

    pattern: str
    name: str
    change: Callable[[Tensor], Tensor] | None = None


@dataclasses.dataclass(frozen=True)
class Drop:
    """Names that fully match `pattern` are left out because of `reason`."""

    pattern: str
    reason: str


Rule: TypeAlias = Rename | Drop


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """Report of an import: it covers every entry of the file and every entry of the network."""

    source: str
    """Name of the project, and the file if there is one."""

    filled: dict[str, str]
    """Entries of the network, with the file's entry that each comes from."""

    left_out: dict[str, str]
    """The file's entries that are not used, and why."""

    unfilled: tuple[str, ...]
    """Entries of the network that keep their initial values."""

    notes: tuple[str, ...] = ()
    """Other facts for the user: matched classes, which of several sets of weights is used."""

    def __str__(self) -> str:
        """Return a few lines for the user: counts, and reasons with the number of entries that each concerns."""
        total = len(self.filled) + len(self.unfilled)
        lines = [f"initialised from {self.source}: {len(self.filled)} of {total} tensors filled"]
        for reason in dict.fromkeys(self.left_out.values()):
            names = [name for name, why in self.left_out.items() if why == reason]
            lines.append(f"  left out of the file: {some(names)} ({reason})")
        kept = [name for name in self.unfilled if not name.endswith(COUNTER)]
        if kept:
            lines.append(f"  not in the file, initialised at random: {some(_parts(kept))}")
        lines += [f"  {note}" for note in self.notes]
        return "\n".join(lines)


def rename(
    entries: Mapping[str, Tensor], rules: Sequence[Rule], shapes: Mapping[str, Sequence[int]]
) -> tuple[dict[str, Tensor], dict[str, str], dict[str, str]]:
    """Rename `entries` to our names, in the `shapes` of our network.

    The first rule that matches a name applies. A 2D kernel becomes a 3D kernel over one frame.

    Returns:
        Our names to tensors, our names to the file's, and the file's names to why they are left out.

    Raises:
        CheckpointError: an entry has no place in the network, or another shape; the message names the first ones.
    """
    values: dict[str, Tensor] = {}
    sources: dict[str, str] = {}
    left_out: dict[str, str] = {}
    homeless: list[str] = []
    for name, value in entries.items():
        rule, match = _matching(name, rules)
        if isinstance(rule, Drop):
            left_out[name] = rule.reason
            continue
        target = match.expand(rule.name) if rule and match else name
        if target not in shapes:
            homeless.append(name)
            continue
        changed = rule.change(value) if rule and rule.change else value
        values[target] = _shaped(changed, shapes[target], name)
        sources[target] = name
    if homeless:
        raise CheckpointError(f"has entries that do not belong to the network: {some(homeless)}")
    return values, sources, left_out


def _matching(name: str, rules: Sequence[Rule]) -> tuple[Rule | None, re.Match[str] | None]:
    for rule in rules:
        if match := re.fullmatch(rule.pattern, name):
            return rule, match
    return None, None


def _shaped(value: Tensor, shape: Sequence[int], name: str) -> Tensor:
    """Reshape `value` if only dimensions of size 1 differ (a 2D kernel in 3D, a linear layer as a 1x1x1 one)."""
    if value.numel() == _product(shape) and [n for n in value.shape if n > 1] == [n for n in shape if n > 1]:
        return value.reshape(tuple(shape))
    raise CheckpointError(f"{name} has shape {tuple(value.shape)}, but the network needs {tuple(shape)}")


def _product(shape: Sequence[int]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product


def _parts(names: Sequence[str]) -> list[str]:
    """Return the modules that contain `names`, two levels deep."""
    return list(dict.fromkeys(".".join(name.split(".")[:2]) for name in names))


def some(names: Sequence[str]) -> str:
    """Return the first three of `names` and the number of others, as text."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
