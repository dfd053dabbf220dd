"""Find the network's weights among the dictionaries in a file, and choose between raw and averaged ones.

A state is a dictionary with tensors. It is taken as weights if most of its tensors have dotted names (`conv1.weight`),
unlike a random state, class weights or a best score; else one without dots is accepted. Of several, the
outermost with the likeliest key is taken. Averaged weights are a second state under an EMA key or
mmcv's `ema_*` entries in the same state; which set is the default follows the program that wrote the file.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from tdpn_core.weights.inert import Array

STATES = ("state_dict", "model_state", "model_state_dict", "model", "net", "network", "module", "params", "weights")
"""Keys under which programs store the network's tensors, the likeliest first."""

_AVERAGED = re.compile(r"(?:.+_)?(?:ema|swa|averaged?)(?:_.+)?")
_NO_WEIGHTS = re.compile(r"optim.*|.*(?:sched|scaler|rng|loss|criterion|metric|message_hub|callbacks).*")
_LOSS = re.compile(r"(?:criterion|loss\w*|\w+_loss|metrics?|(?:train|val|valid|test)_\w+)\..+")
_DEPTH = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Located:
    """The weights found in a file."""

    place: tuple[str, ...]
    """Keys that lead to them."""

    tensors: dict[str, Tensor]
    left_out: dict[str, str]
    """Entries of the same dictionary that are not used, and why."""

    note: str | None
    """Which of two sets of weights these are."""

    averaged: bool
    """Whether they are averaged (EMA) weights."""


def locate(saved: Mapping[Any, Any], ema: bool | None = None) -> Located | None:
    """Find the weights; None if there are none, or several without a known key.

    Args:
        saved: content of the file.
        ema: True for averaged weights, False for raw ones, None for those that the file's program evaluates.
    """
    states = list(_states(saved, ()))
    dotted = [state for state in states if _is_dotted(state[1])]
    candidates = dotted or states
    plain = [state for state in candidates if not _is_averaged(state[0])]
    averaged = [state for state in candidates if _is_averaged(state[0])]
    chosen = _likeliest(plain)
    if chosen is None and plain:
        return None
    other = _likeliest(averaged)
    note, is_averaged = None, chosen is None
    if chosen is None:
        chosen = other
    elif other is not None:
        swapped = _tensor(other[1].get("steps")) is not None  # mmengine swaps the two when it saves
        take = ema is not False
        chosen, is_averaged = other if take != swapped else chosen, take
        taken, left = ("averaged (EMA)", "raw") if take else ("raw", "averaged (EMA)")
        note = f"uses the {taken} weights; the file also has {left} ones"
    if chosen is None:
        return None
    return _cleaned(*chosen, ema=ema, note=note, averaged=is_averaged)


def _states(value: Mapping[Any, Any], place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Yield dictionaries of names to tensors, the outermost first."""
    if any(isinstance(name, str) and _tensor(entry) is not None for name, entry in value.items()):
        yield place, value
    for name, entry in value.items():
        if not isinstance(name, str) or not isinstance(entry, Mapping) or len(place) == _DEPTH:
            continue
        if not _NO_WEIGHTS.fullmatch(name.lower()):
            yield from _states(entry, (*place, name))


def _tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, Array) and value.numbers is not None:
        return torch.from_numpy(value.numbers.astype(value.numbers.dtype.newbyteorder("="), copy=True))
    return None


def _is_dotted(state: Mapping[str, Any]) -> bool:
    names = [name for name, entry in state.items() if isinstance(entry, (Tensor, Array))]
    return 2 * sum("." in str(name) for name in names) > len(names)


def _is_averaged(place: tuple[str, ...]) -> bool:
    return any(_AVERAGED.fullmatch(name.lower()) for name in place)


def _likeliest(
    states: list[tuple[tuple[str, ...], Mapping[str, Any]]],
) -> tuple[tuple[str, ...], Mapping[str, Any]] | None:
    """Return the outermost state with the likeliest key, or the only state."""
    if not states:
        return None
    depth = min(len(place) for place, _ in states)
    outer = [state for state in states if len(state[0]) == depth]
    if len(outer) == 1:
        return outer[0]
    known = [state for state in outer if state[0][0] in STATES]
    return min(known, key=lambda state: STATES.index(state[0][0])) if known else None


def _cleaned(
    place: tuple[str, ...], state: Mapping[str, Any], *, ema: bool | None, note: str | None, averaged: bool
) -> Located:
    tensors = {str(name): found for name, entry in state.items() if (found := _tensor(entry)) is not None}
    left_out = {str(name): "not a tensor" for name in state if str(name) not in tensors}
    flat = {"ema_" + name.replace(".", "_"): name for name in tensors if not name.startswith("ema_")}
    pairs = {name: flat[name] for name in tensors if name in flat}
    if pairs:  # mmcv evaluates the plain entries
        averaged = bool(ema)
        if ema:
            tensors |= {own: tensors[name] for name, own in pairs.items()}
        note = f"uses the {'averaged (ema_*)' if ema else 'plain'} entries of two sets"
        left_out |= dict.fromkeys(pairs, "mmcv's other set of weights")
    if _is_dotted(state):
        for name in tensors:
            if name not in pairs and (_LOSS.fullmatch(name) or ("." not in name and tensors[name].ndim <= 1)):
                left_out[name] = "training state, not a network weight"
    return Located(
        place=place,
        tensors={name: value for name, value in tensors.items() if name not in left_out},
        left_out=left_out,
        note=note,
        averaged=averaged,
    )
