"""Match a checkpoint's classes with a data set's labels, so that scores are compared with the right class."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tdpn_core.config.schema import DataConfig
from tdpn_core.errors import CheckpointError, ShardError
from tdpn_core.shards.manifest import Manifest

Columns = dict[str, npt.NDArray[np.int64]]
"""For each head, the column of the scores for each class of the data."""

_OTHER_HINT = "prepare the data like the checkpoint's, or accept the difference with --allow-mismatch"


@dataclasses.dataclass(frozen=True)
class Matched:
    """A checkpoint's classes in the order of the data's."""

    columns: Columns
    classes: dict[str, list[str]]
    """For each head, classes with those of the data first: labels are indices into these."""

    subsets: dict[str, tuple[int, int]]
    """For each head of which the data has only some classes: their number, and the checkpoint's."""


def match_classes(
    known: Mapping[str, Sequence[str]],
    wanted: Mapping[str, Sequence[str]],
    *,
    where: str | Path,
    owner: str,
    only_shared: bool = False,
) -> Matched:
    """Match a checkpoint's classes `known` with the data's classes `wanted`, possibly a subset, by name.

    The checkpoint's other classes follow those of the data and can be predicted, as in use. With `only_shared` they are
    left out, which is an easier task.

    Raises:
        CheckpointError: the data has a class that the checkpoint lacks, or a name occurs twice.
    """
    _same_heads(known, wanted, where, owner)
    classes, subsets = {}, {}
    for head, names in wanted.items():
        others = [name for name in known[head] if name not in set(names)]
        part = set(names) < set(known[head]) and len(set(known[head])) == len(known[head])
        if part:
            subsets[head] = (len(names), len(known[head]))
        classes[head] = [*names, *(others if part and not only_shared else [])]
    columns = {
        head: _columns(head, list(known[head]), names, where, owner, part=head in subsets)
        for head, names in classes.items()
    }
    return Matched(columns, classes, subsets)


def class_columns(
    known: Mapping[str, Sequence[str]], wanted: Mapping[str, Sequence[str]], *, where: str | Path, owner: str
) -> Columns:
    """Return, for each head, the column in `known` of each class in `wanted`, matched by name.

    Raises:
        CheckpointError: the classes differ, or a name occurs twice. `where` names the source of `known`, `owner`
            that of `wanted`.
    """
    _same_heads(known, wanted, where, owner)
    return {head: _columns(head, list(known[head]), list(wanted[head]), where, owner) for head in known}


def reordered(columns: Columns) -> list[str]:
    """Return the heads whose classes are in another order, ignoring omitted classes."""
    return [head for head, order in columns.items() if (np.diff(order) < 0).any()]


def check_data(data: DataConfig, manifest: Manifest, folder: Path, *, where: Path) -> None:
    """Check by digest that the data in `folder` is the data that a run was trained on.

    Raises:
        ShardError: it is different data.
    """
    if data.digest and data.digest != manifest.digest:
        what = f"{folder} holds other data than this run was trained on (digest {manifest.digest[:12]}, not "
        hint = f"--data {folder} scores it anyway; the report mentions it"
        raise ShardError(f"{what}{data.digest[:12]}); it has been prepared again", where=where, hint=hint)


def check_frames(data: DataConfig, manifest: Manifest, *, where: Path) -> None:
    """Check that the frames to score were prepared like the training frames.

    Raises:
        CheckpointError: size, frame rate or modality differ; the message has both values.
    """
    trained = {**data.encoding, "short_side": data.short_side}
    for name in ("modality", "short_side", "fps"):
        own, present = trained.get(name), manifest.settings.get(name)
        if name in trained and name in manifest.settings and own != present:
            what = f"trained on frames of {name} {own}, but {manifest.dataset} was prepared with {name} {present}"
            raise CheckpointError(what, where=where, hint=_OTHER_HINT)


def _same_heads(
    known: Mapping[str, Sequence[str]], wanted: Mapping[str, Sequence[str]], where: str | Path, owner: str
) -> None:
    if list(known) != list(wanted):
        heads = f"trained on {_list(known)}, but {owner} has {_list(wanted)}"
        raise CheckpointError(heads, where=where, hint="evaluate on data with the checkpoint's heads")


def _columns(
    head: str, known: list[str], wanted: list[str], where: str | Path, owner: str, *, part: bool = False
) -> npt.NDArray[np.int64]:
    """Return the column of each of `wanted`; with `part`, these may be a subset of `known`."""
    if known == wanted:
        return np.arange(len(known))
    place = {name: column for column, name in enumerate(known)}
    if not part and (sorted(known) != sorted(wanted) or len(place) < len(known)):
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
    return f"{len(known)} and {len(wanted)} {head} classes, {', '.join(some) or 'one name is used for several'}"


def _list(heads: Mapping[str, Sequence[str]]) -> str:
    return " and ".join(heads) or "nothing"
