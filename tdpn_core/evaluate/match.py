"""Whether a checkpoint's outputs mean what a data set's labels mean: scored otherwise, a number would be wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tdpn_core.config import DataConfig
from tdpn_core.errors import CheckpointError
from tdpn_core.shards.manifest import Manifest

Columns = dict[str, npt.NDArray[np.int64]]
"""For each head, the column of the scores that each class of the data has."""

_OTHER_HINT = "prepare the data as the checkpoint's was, or take the difference with --allow-mismatch"


def class_columns(
    known: Mapping[str, Sequence[str]], wanted: Mapping[str, Sequence[str]], *, where: str | Path, owner: str
) -> Columns:
    """The order in which columns of classes `known` are columns of classes `wanted`, by name.

    Raises:
        CheckpointError: they are other classes, or names that stand for two. `where` has the known ones, `owner` the
            wanted.
    """
    if list(known) != list(wanted):
        heads = f"trained on {_list(known)}, but {owner} has {_list(wanted)}"
        raise CheckpointError(heads, where=where, hint="evaluate on data of the checkpoint's own kind")
    return {head: _columns(head, list(known[head]), list(wanted[head]), where, owner) for head in known}


def reordered(columns: Columns) -> list[str]:
    """The heads whose classes stand in another order."""
    return [head for head, order in columns.items() if not np.array_equal(order, np.arange(len(order)))]


def check_frames(data: DataConfig, manifest: Manifest, *, where: Path) -> None:
    """Compare how the frames were made that were trained on and that are to be scored.

    Raises:
        CheckpointError: size, frame rate or modality differ; the message has both values.
    """
    trained = {**data.encoding, "short_side": data.short_side}
    for name in ("modality", "short_side", "fps"):
        own, present = trained.get(name), manifest.settings.get(name)
        if name in trained and name in manifest.settings and own != present:
            what = f"trained on frames of {name} {own}, but {manifest.dataset} was prepared with {name} {present}"
            raise CheckpointError(what, where=where, hint=_OTHER_HINT)


def _columns(head: str, known: list[str], wanted: list[str], where: str | Path, owner: str) -> npt.NDArray[np.int64]:
    if known == wanted:
        return np.arange(len(known))
    place = {name: column for column, name in enumerate(known)}
    if sorted(known) != sorted(wanted) or len(place) < len(known):
        raise CheckpointError(
            f"trained on other classes than {owner} has: {_difference(head, known, wanted)}",
            where=where,
            hint="evaluate on data prepared with the checkpoint's own classes",
        )
    return np.array([place[name] for name in wanted])


def _difference(head: str, known: list[str], wanted: list[str]) -> str:
    lacking, unknown = sorted(set(known) - set(wanted)), sorted(set(wanted) - set(known))
    some = [f"{lacking[0]!r} is only in the checkpoint"] if lacking else []
    some += [f"{unknown[0]!r} is only in the data"] if unknown else []
    return f"{len(known)} and {len(wanted)} {head} classes, {', '.join(some) or 'one name stands for several'}"


def _list(heads: Mapping[str, Sequence[str]]) -> str:
    return " and ".join(heads) or "nothing"
