"""Ledger of a preparation: the outcome for every clip, one file per block of clips, each written once, atomically.

    ledger/plan.json           data set and settings, fixed by the first run
    ledger/train-00000.json    a block: its shards, and one row per clip

A block counts once its file exists, and its file names only existing shards. So after a kill at any time, the ledger is
correct, and what it lacks is still to do. It needs no locks, so it works on any file system.
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
    """Outcome for a clip."""

    __pydantic_config__ = _STRICT

    id: str
    source: str
    """Its file or folder, relative to the data set's root."""

    status: Literal["done", "failed", "skipped"]
    """`skipped`: beyond the configured limits."""

    reason: str = ""
    """Why it is not done; for a packed clip, errors that ffmpeg reported although it is complete."""

    stamp: str = ""
    """Size and modification time of the source; the outcome is valid while they are unchanged. Empty: try again."""

    shard: str = ""
    """Shard that contains it."""

    frames: int = 0
    seconds: float = 0.0
    bytes: int = 0
    look: str = ""
    """Result of `tdpn_core.prep.visual_digest` for a packed clip; empty if it is not distinctive."""


@dataclass(frozen=True)
class BlockRecord:
    """A block of processed clips."""

    __pydantic_config__ = _STRICT

    split: str
    number: int
    shards: list[Shard]
    clips: list[ClipRecord]

    @property
    def name(self) -> str:
        """Name of the block: `train-00000`."""
        return block_name(self.split, self.number)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Subject of a preparation: cannot change between runs, except for `listed` and `subsets`."""

    __pydantic_config__ = _STRICT

    dataset: str
    classes: dict[str, list[str]]
    label_order: str
    settings: dict[str, Any]
    multilabel: bool = False
    subsets: dict[str, dict[str, list[str]] | dict[str, list[int]]] = field(default_factory=dict)
    listed: dict[str, int] = field(default_factory=dict)
    """Counts found by the latest run (`Manifest.listed`)."""


def block_name(split: str, number: int) -> str:
    """`train-00000`."""
    return f"{split}-{number:05d}"


class Ledger:
    """Records of a preparation."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def plan(self) -> Plan | None:
        """Return the plan of the first run; None if nothing has been prepared here.

        Raises:
            ShardError: it is damaged.
        """
        content = self._place.load(PLAN)
        return None if content is None else _parse(Plan, content, PLAN)

    def begin(self, plan: Plan) -> None:
        """Store the plan."""
        self._save(PLAN, asdict(plan))

    def names(self) -> list[tuple[str, int]]:
        """Return (split, number) of every finished block, in order."""
        found = [_BLOCK.fullmatch(name) for name in self._place.sizes(LEDGER, ".json")]
        return sorted(((match[1], int(match[2])) for match in found if match), key=_split_and_number)

    def blocks(self) -> Iterator[BlockRecord]:
        """Yield the finished blocks in order, one at a time, since there may be thousands.

        Raises:
            ShardError: a record is damaged.
        """
        for split, number in self.names():
            record = self.block(split, number)
            if record is not None:
                yield record

    def block(self, split: str, number: int) -> BlockRecord | None:
        """Return the record of a block; None if there is none.

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
        """Add a block; its shards must exist."""
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
        hint = f"remove it, and run tdpn prep again; only {name} is processed again"
        raise ShardError(f"damaged record: {str(error)[:160]}", where=name, hint=hint) from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
