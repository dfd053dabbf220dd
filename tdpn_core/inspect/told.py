"""What the ledger of a preparation tells of its clips, gathered in one pass over it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from tdpn_core.prep.ledger import BlockRecord, ClipRecord
from tdpn_core.shards.manifest import Shard

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass
class Reason:
    """Why clips were left out; reasons that differ only in their numbers are one."""

    status: str
    """`failed` or `skipped`."""

    text: str
    """With N for every number."""

    clips: int
    example: str
    """A source, and its own reason."""


@dataclass
class Told:
    """The sum of some records."""

    shards: list[Shard] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """Clips of each split that failed or were skipped; a split without any is there, too."""

    complaints: int = 0
    """Clips that are whole although the decoder complained about them."""

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
        """Commonest first."""
        return sorted(self._reasons.values(), key=lambda reason: -reason.clips)

    def _group(self, clip: ClipRecord) -> None:
        text = _NUMBER.sub("N", clip.reason)
        new = Reason(clip.status, text, 0, f"{clip.source}: {clip.reason}")
        self._reasons.setdefault((clip.status, text), new).clips += 1
