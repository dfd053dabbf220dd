"""Whether a checkpoint's outputs mean what a data set's labels mean: scored otherwise, a number would be wrong."""

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
"""For each head, the column of the scores that each class of the data has."""

_OTHER_HINT = "prepare the data as the checkpoint's was, or take the difference with --allow-mismatch"


@dataclasses.dataclass(frozen=True)
class Matched:
    """A checkpoint's classes in the order of the data's."""

    columns: Columns
    classes: dict[str, list[str]]
    """Of each head, those of the data first: labels are numbers of these."""

    subsets: dict[str, tuple[int, int]]
    """Of each head whose classes the data has only a part of: how many, and how many the checkpoint has."""


def match_classes(
    known: Mapping[str, Sequence[str]],
    wanted: Mapping[str, Sequence[str]],
    *,
    where: str | Path,
    owner: str,
    only_shared: bool = False,
) -> Matched:
    """A checkpoint's classes `known` and the classes `wanted` of data, which may be a part of them, by name.

    The checkpoint's other classes come behind those of the data: a clip may be taken for one of them, as it may in
    use. With `only_shared` they are left out, which is an easier task.

    Raises:
        CheckpointError: the data has a class that the checkpoint does not have, or a name stands for two.
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
    """The order in which columns of classes `known` are columns of classes `wanted`, by name.

    Raises:
        CheckpointError: they are other classes, or names that stand for two. `where` has the known ones, `owner` the
            wanted.
    """
    _same_heads(known, wanted, where, owner)
    return {head: _columns(head, list(known[head]), list(wanted[head]), where, owner) for head in known}


def reordered(columns: Columns) -> list[str]:
    """The heads whose classes are in another order, those that are left out aside."""
    return [head for head, order in columns.items() if (np.diff(order) < 0).any()]


def check_data(data: DataConfig, manifest: Manifest, folder: Path, *, where: Path) -> None:
    """Compare the data that a run was trained on with what is in `folder` now, by content.

    Raises:
        ShardError: it is other data.
    """
    if data.digest and data.digest != manifest.digest:
        what = f"{folder} holds other data than this run was trained on (digest {manifest.digest[:12]}, not "
        hint = f"--data {folder} scores it all the same, and the report says so"
        raise ShardError(f"{what}{data.digest[:12]}); it was prepared again since", where=where, hint=hint)


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


def _same_heads(
    known: Mapping[str, Sequence[str]], wanted: Mapping[str, Sequence[str]], where: str | Path, owner: str
) -> None:
    if list(known) != list(wanted):
        heads = f"trained on {_list(known)}, but {owner} has {_list(wanted)}"
        raise CheckpointError(heads, where=where, hint="evaluate on data of the checkpoint's own kind")


def _columns(
    head: str, known: list[str], wanted: list[str], where: str | Path, owner: str, *, part: bool = False
) -> npt.NDArray[np.int64]:
    """The column of each of `wanted`; with `part`, these are some of the known ones."""
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
    return f"{len(known)} and {len(wanted)} {head} classes, {', '.join(some) or 'one name stands for several'}"


def _list(heads: Mapping[str, Sequence[str]]) -> str:
    return " and ".join(heads) or "nothing"
