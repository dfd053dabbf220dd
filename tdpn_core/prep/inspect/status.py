"""Status of a folder that `prepare` writes to: finished, in progress, killed, damaged, or without its ledger."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from tdpn_core.claim import holder
from tdpn_core.errors import ShardError, UsageError
from tdpn_core.prep.journal import BlockRecord, ClipRecord, Ledger, Plan, block_name
from tdpn_core.prep.storage import LocalPlace
from tdpn_core.shards.manifest import LEDGER, MANIFEST, Manifest, Shard, load_manifest

_PARENT = Path("data")


@dataclass(frozen=True)
class Prepared:
    """Content of a folder."""

    folder: Path
    manifest: Manifest
    """Its manifest; for an unfinished preparation, derived from the ledger."""

    recorded: Recorded
    """Counts from the ledger; empty if the ledger is missing."""

    finished: bool
    """Whether the manifest exists and lists all recorded clips."""

    owner: str | None
    """Process that is currently preparing clips in the folder, and since when; None if there is none."""

    damaged: list[str]
    """Unreadable records, and the errors; their clips are missing from all counts."""


def find_folder(folder: Path | None = None) -> Path:
    """Return `folder`, else the only folder under ./data with a preparation, finished or not.

    Raises:
        UsageError: there is none, or more than one.
    """
    if folder is not None:
        if not folder.is_dir():
            raise UsageError("no such folder", where=folder, hint="give the folder that tdpn prep wrote")
        return folder
    found = sorted({path.parent for name in (MANIFEST, LEDGER) for path in _PARENT.glob(f"*/{name}")})
    if not found:
        raise UsageError("no prepared data set under data/", hint="run tdpn prep …, or give its folder")
    if len(found) > 1:
        raise UsageError(f"several prepared data sets: {', '.join(map(str, found))}", hint="name one of them")
    return found[0]


def open_folder(folder: Path) -> Prepared:
    """Read manifest and ledger as far as possible.

    Raises:
        ShardError: neither can be read.
    """
    ledger = Ledger(LocalPlace(folder))
    damaged: list[str] = []
    plan = _plan(ledger, damaged)
    recorded = _recorded(ledger, damaged)
    try:
        manifest = load_manifest(folder)
    except ShardError as error:
        if plan is None:
            raise
        if (folder / MANIFEST).exists():
            damaged.append(str(error))
        return Prepared(folder, _so_far(plan, recorded, folder), recorded, False, _owner(folder), damaged)
    written, listed = ({shard.file for shard in shards} for shards in (recorded.shards, manifest.shards))
    finished = plan is None or (written <= listed if damaged else written == listed)
    if not finished:
        manifest = replace(manifest, shards=recorded.shards)
    return Prepared(folder, manifest, recorded, finished, _owner(folder), damaged)


def _plan(ledger: Ledger, damaged: list[str]) -> Plan | None:
    try:
        return ledger.plan()
    except ShardError as error:
        damaged.append(str(error))
        return None


def _owner(folder: Path) -> str | None:
    found = holder(folder)
    return None if found is None else str(found)


def _recorded(ledger: Ledger, damaged: list[str]) -> Recorded:
    recorded = Recorded()
    for split, number in ledger.names():
        try:
            record = ledger.block(split, number)
        except ShardError as error:
            damaged.append(f"{LEDGER}/{block_name(split, number)}.json: {error.what}")
        else:
            if record is not None:
                recorded.add(record)
    return recorded


def _so_far(plan: Plan, recorded: Recorded, folder: Path) -> Manifest:
    return Manifest(
        dataset=plan.dataset,
        root=str(folder),
        classes=plan.classes,
        label_order=plan.label_order,
        settings=plan.settings,
        multilabel=plan.multilabel,
        subsets=plan.subsets,
        shards=recorded.shards,
        left_out=dict(recorded.left_out),
        listed=plan.listed,
    )


_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass
class Reason:
    """Reason for left-out clips; reasons that differ only in numbers are counted as one."""

    status: str
    """`failed` or `skipped`."""

    text: str
    """Text with N for every number."""

    clips: int
    example: str
    """A source and its own reason."""


@dataclass
class Recorded:
    """Counts over records."""

    shards: list[Shard] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """Number of clips by split that failed or were skipped; includes splits without any."""

    complaints: int = 0
    """Number of complete clips for which the decoder reported errors."""

    _reasons: dict[tuple[str, str], Reason] = field(default_factory=dict)

    def add(self, block: BlockRecord) -> None:
        """Count a record."""
        self.shards += block.shards
        self.left_out[block.split] += 0
        for clip in block.clips:
            if clip.status == "done":
                self.complaints += clip.reason != ""
            else:
                self.left_out[block.split] += 1
                self._group(clip)

    @property
    def reasons(self) -> list[Reason]:
        """Return reasons, the most frequent first."""
        return sorted(self._reasons.values(), key=lambda reason: -reason.clips)

    def _group(self, clip: ClipRecord) -> None:
        text = _NUMBER.sub("N", clip.reason)
        new = Reason(clip.status, text, 0, f"{clip.source}: {clip.reason}")
        self._reasons.setdefault((clip.status, text), new).clips += 1
