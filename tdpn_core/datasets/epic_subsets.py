"""What EPIC-KITCHENS-100 scores apart: unseen participants and tail classes, by the lists beside its annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tdpn_core.datasets.scan import scan
from tdpn_core.datasets.text import fault, read_columns
from tdpn_core.errors import DatasetError

Subsets = dict[str, dict[str, list[str]] | dict[str, list[int]]]
"""As `Dataset.subsets`."""

_TAIL = "EPIC_100_tail_{head}s.csv"
_UNSEEN = {
    "val": "EPIC_100_unseen_participant_ids_validation.csv",
    "test": "EPIC_100_unseen_participant_ids_test.csv",
}


def find_lists(folder: Path) -> dict[str, Path]:
    """The annotation files below a folder, by name.

    Raises:
        DatasetError: there is no such folder, or none of the lists is in it.
    """
    if not folder.is_dir():
        raise DatasetError("no such folder of annotations", where=folder)
    known = {Path(text).name: folder / text for text in scan(folder).texts}
    wanted = [*(_TAIL.format(head=head) for head in ("verb", "noun")), *_UNSEEN.values()]
    if not known.keys() & set(wanted):
        raise DatasetError(f"holds none of {', '.join(wanted)}", where=folder, hint=_hint())
    return known


def read_subsets(
    known: Mapping[str, Path], split: str, clips: Sequence[str], classes: Mapping[str, Sequence[str]], *, where: Path
) -> Subsets:
    """What is scored apart of the `clips` of a split, whose participants stand in their names.

    Raises:
        DatasetError: a list that this split needs is not among the `known` files of the folder `where`, or is faulty.
    """
    needed = [_TAIL.format(head=head) for head in classes] + ([_UNSEEN[split]] if split in _UNSEEN else [])
    lacking = [name for name in needed if name not in known]
    if lacking:
        raise DatasetError(f"holds no {' and no '.join(lacking)}", where=where, hint=_hint())
    of_participant: dict[str, list[str]] = {}
    for clip in clips:
        of_participant.setdefault(clip.partition("_")[0], []).append(clip)
    unseen, tail = read_unseen(known, {split: of_participant}), read_tail(known, classes)
    return {"unseen": unseen, "tail": tail} if unseen else {"tail": tail}


def read_unseen(
    known: Mapping[str, Path], participants: Mapping[str, Mapping[str, Sequence[str]]]
) -> dict[str, list[str]]:
    """Ids of the clips of unseen participants, by split; `participants` has the clips of each, by split."""
    unseen = {}
    for split, file in _UNSEEN.items():
        if file in known and split in participants:
            apart = [participant for _, (participant,) in read_columns(known[file], ["participant_id"])]
            unseen[split] = sorted(clip for one in apart for clip in participants[split].get(one, ()))
    return unseen


def read_tail(known: Mapping[str, Path], classes: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """Rare classes by head.

    Raises:
        DatasetError: a list names what is no class.
    """
    tail: dict[str, list[int]] = {}
    for head, names in classes.items():
        file = known.get(_TAIL.format(head=head))
        if file is None:
            continue
        tail[head] = []
        for line, (number,) in read_columns(file, [head]):
            if not number.isdecimal() or int(number) >= len(names):
                raise fault(file, line, f"is not one of {len(names)} {head}s", number)
            tail[head].append(int(number))
    return tail


def _hint() -> str:
    return "they come with the annotations of EPIC-KITCHENS-100; name the folder that they lie in"
