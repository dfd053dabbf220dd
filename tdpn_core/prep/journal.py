"""The journal of a preparation: what became of every clip, one file a block of clips, each written once and whole.

    ledger/plan.json           what is prepared, and how: fixed by the first run
    ledger/train-00000.json    a block: its shards, and one row for each of its clips

A block counts when its file is there, and its file names only shards that are there. So whatever is killed, whenever,
what the ledger says is true, and what it does not say is still to do. Nothing is locked, so it can lie anywhere.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tdpn_core.config.schema import from_dict
from tdpn_core.datasets.clip_table import SPLITS
from tdpn_core.errors import ConfigError, ShardError
from tdpn_core.prep.storage import Place
from tdpn_core.shards.manifest import AGAIN, LEDGER, Shard

PLAN = f"{LEDGER}/plan.json"
_BLOCK = re.compile(r"(train|val|test)-(\d{5})\.json")
_STRICT = {"extra": "forbid"}


@dataclass(frozen=True)
class ClipRecord:
    """What became of a clip."""

    __pydantic_config__ = _STRICT

    id: str
    source: str
    """Its file or folder, relative to the data set's root."""

    status: Literal["done", "failed", "skipped"]
    """`skipped`: beyond the limits that were set."""

    reason: str = ""
    """Why it is not done; of a packed clip, what ffmpeg complained about although it is whole."""

    stamp: str = ""
    """Size and modification time of the source: while they stay, so does the outcome. Empty: to be tried again."""

    shard: str = ""
    """File that it is packed in."""

    frames: int = 0
    seconds: float = 0.0
    bytes: int = 0
    look: str = ""
    """Of a packed clip, what `tdpn_core.prep.visual_digest` makes of it; empty where that tells nothing."""


@dataclass(frozen=True)
class BlockRecord:
    """A block of clips that has been dealt with."""

    __pydantic_config__ = _STRICT

    split: str
    number: int
    shards: list[Shard]
    clips: list[ClipRecord]

    @property
    def name(self) -> str:
        """Of the block: `train-00000`."""
        return block_name(self.split, self.number)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a preparation is of: but for what is listed, and scored apart, it cannot change between two runs."""

    __pydantic_config__ = _STRICT

    dataset: str
    classes: dict[str, list[str]]
    label_order: str
    settings: dict[str, Any]
    subsets: dict[str, dict[str, list[str]] | dict[str, list[int]]] = field(default_factory=dict)
    listed: dict[str, int] = field(default_factory=dict)
    """As the latest run found it (`Manifest.listed`)."""


def block_name(split: str, number: int) -> str:
    """`train-00000`."""
    return f"{split}-{number:05d}"


class Ledger:
    """The records at a place."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def plan(self) -> Plan | None:
        """What the first run fixed; None: nothing has been prepared here.

        Raises:
            ShardError: it is damaged.
        """
        content = self._place.load(PLAN)
        return None if content is None else _parse(Plan, content, PLAN)

    def begin(self, plan: Plan) -> None:
        """Fix what is prepared."""
        self._save(PLAN, asdict(plan))

    def names(self) -> list[tuple[str, int]]:
        """(split, number) of every block that is done, in order."""
        found = [_BLOCK.fullmatch(name) for name in self._place.sizes(LEDGER, ".json")]
        return sorted(((match[1], int(match[2])) for match in found if match), key=_split_and_number)

    def blocks(self) -> Iterator[BlockRecord]:
        """The blocks that are done, in order; one at a time, since there may be thousands.

        Raises:
            ShardError: a record is damaged.
        """
        for split, number in self.names():
            record = self.block(split, number)
            if record is not None:
                yield record

    def block(self, split: str, number: int) -> BlockRecord | None:
        """The record of a block; None if there is none.

        Raises:
            ShardError: it is damaged.
        """
        name = f"{LEDGER}/{block_name(split, number)}.json"
        content = self._place.load(name)
        if content is None:
            return None
        record: BlockRecord = _parse(BlockRecord, content, name)
        if (record.split, record.number) != (split, number):
            raise ShardError(f"is the record of {record.name}", where=name, hint=AGAIN)
        return record

    def record(self, block: BlockRecord) -> None:
        """Enter a block; its shards must be there."""
        self._save(f"{LEDGER}/{block.name}.json", asdict(block))

    def _save(self, name: str, values: dict[str, Any]) -> None:
        text = json.dumps(values, indent=0, allow_nan=False)
        self._place.save(name, [json.dumps({"sha256": _digest(text), "record": values}, indent=0).encode()])


def _split_and_number(block: tuple[str, int]) -> tuple[int, int]:
    return SPLITS.index(block[0]), block[1]


def _parse(kind: type[Any], content: bytes, name: str) -> Any:
    try:
        values = json.loads(content)
        record = values["record"]
        if values["sha256"] != _digest(json.dumps(record, indent=0, allow_nan=False)):
            raise ValueError("its content does not match its digest")
        return from_dict(kind, record)
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        hint = f"remove it, and run tdpn prep again; {name} alone is done again"
        raise ShardError(f"damaged record: {str(error)[:160]}", where=name, hint=hint) from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
